"""Task queues: a queue for each task (language, data set), and a row sees that of its own task only.

    columns of row i = [keys of this batch | the last K keys of task(i)]

Shapes: K vectors a task. Rows carry a column ``task``, a text or a whole number; tasks are told apart as they appear. Source: CCP,
arXiv:2206.03281, section 3.2 (one memory bank a language). Relation: ``queue`` with one task. A queue common to all tasks would be
filled by the most frequent. Errors: DataError where rows carry no task or there are more than ``tasks``.

>>> one, part = torch.eye(2), TaskQueues(size=3, tasks=2)
>>> meta = {"queries.task": torch.tensor([5, 9]), "keys.task": torch.tensor([5, 9])}
>>> part.update({"keys": one}, meta)
>>> wider = part.extend(Pairs.aligned(one, one), {"keys": one}, meta)
>>> wider.shape, wider.excluded[-1].tile(slice(0, 2), slice(2, 4)).tolist()
((2, 4), [[False, True], [True, False]])
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import nn

from dipole.core.errors import DataError
from dipole.core.pairs import Pairs
from dipole.core.part import at_least, part, words
from dipole.core.relations import AllBut, Match
from dipole.core.vectors import Vectors
from dipole.negatives.memory import Held, Memory, joined, known_of, side_of

__all__ = ["TaskQueues"]


@part
class TaskQueues(nn.Module):
    """First in, first out, task by task. Copies of a row's own item are left out of its negatives."""

    size: int = at_least(1, 4096, "K: vectors kept a task")
    tasks: int = at_least(1, 16, "how many tasks there may be")
    of: str = words("keys", "the side whose vectors are kept")

    def __post_init__(self) -> None:
        self.memories = nn.ModuleList(Memory(self.size, "task_queues") for _ in range(self.tasks))
        self.register_buffer("known", torch.full((self.tasks,), -1, dtype=torch.int64))

    def extend(self, pairs: Pairs, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor]) -> Pairs:
        """The pairs with all queues as further columns, each visible to its task's rows."""
        side_of("task_queues", self.of, sides)
        rows, before = _tasks(meta, "queries"), pairs.shape[1]
        held = [memory.held for memory in self._memories() if len(memory)]
        if not held:
            return pairs
        every = Held(*(torch.cat(tensors) for tensors in zip(*held, strict=True)))
        tasks = torch.cat([task.expand(len(h.id)) for task, h in zip(self.get_buffer("known"), held, strict=False)])
        wider = joined("task_queues", pairs, every, self.of, meta)
        same = Match(rows, torch.cat([rows.new_full((before,), -1), tasks]))
        other = AllBut(same, slice(before, wider.shape[1]), pairs.device)
        return replace(wider, excluded=(*wider.excluded, other))

    def update(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor]) -> None:
        """Put the step's vectors into the queues of their tasks."""
        vectors, tasks = side_of("task_queues", self.of, sides), _tasks(meta, self.of)
        known = self.get_buffer("known")
        for task in tasks.unique().tolist():
            if task not in known.tolist():
                free = (known < 0).nonzero().flatten()
                if not len(free):
                    raise DataError(f"task_queues: more than {self.tasks} tasks", column="task", remedy="raise tasks")
                known[free[0]] = task
            mine = tasks == task
            described = {name: None if t is None else t[mine] for name, t in known_of(self.of, meta).items()}
            self._memories()[known.tolist().index(task)].push(vectors[mine], **described)

    def _memories(self) -> list[Memory]:
        return [memory for memory in self.memories if isinstance(memory, Memory)]


def _tasks(meta: Mapping[str, torch.Tensor], side: str) -> torch.Tensor:
    if f"{side}.task" not in meta:
        raise DataError("task_queues: the rows carry no task", column="task", remedy="add a column 'task', or use queue")
    return meta[f"{side}.task"]
