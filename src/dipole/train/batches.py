"""Which rows a step sees: a function of seed and step number alone, the same for any number of processes.

So the data position of a run is its step number. Several data sets are numbered one after the other; by default every
batch comes from one of them, so that rows of another data set never serve as easy negatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from dipole.core.errors import DataError, DegenerateBatchError, UsageError
from dipole.core.part import choice, part, switch, words
from dipole.core.protocols import Rows
from dipole.core.seed import seed_of


@dataclass
class Plan:
    """The batches of a run. ``lengths``: rows of each data set. Indices run over all data sets, one after the other.

    ``groups`` (rows of all data sets,) int64: rows of one number come one after the other, so that batches are made of whole
    groups but for the one that a batch's end cuts; None: no row has company.
    """

    lengths: tuple[int, ...]
    batch_size: int
    seed: int
    one_source: bool = True
    keep_last: bool = False
    groups: torch.Tensor | None = None
    _epoch: tuple[int, list[torch.Tensor]] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        groups = self.lengths if self.one_source else (sum(self.lengths),)
        for number, length in enumerate(groups):
            place = f"data set {number + 1} of {len(groups)}" if len(groups) > 1 else "the data"
            if length < 2:
                raise DegenerateBatchError(f"{place} must hold at least 2 rows to compare", value=length)
            if length < self.batch_size and not self.keep_last:
                remedy = f"set step.batch_size = {length} or lower, or batches.last = 'keep'"
                raise DegenerateBatchError(f"{place} holds fewer rows than one batch of {self.batch_size}", value=length, remedy=remedy)
            if self.keep_last and length % self.batch_size == 1:
                remedy = "set batches.last = 'drop', or another step.batch_size"
                raise DegenerateBatchError(f"{place}: the last batch would hold a single row, with nothing to compare", remedy=remedy)

    @property
    def steps_per_epoch(self) -> int:
        """Batches until every row was seen once (left out last batches aside)."""
        groups = self.lengths if self.one_source else (sum(self.lengths),)
        return sum(-(-n // self.batch_size) if self.keep_last else n // self.batch_size for n in groups)

    def batch(self, step: int) -> torch.Tensor:
        """(B,) int64: the rows of the whole batch of ``step``, counted from 0 over all epochs."""
        epoch, within = divmod(step, self.steps_per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, self._shuffled(epoch))
        return self._epoch[1][within]

    def _shuffled(self, epoch: int) -> list[torch.Tensor]:
        dice = torch.Generator().manual_seed(seed_of(self.seed, "epoch", epoch))
        batches: list[torch.Tensor] = []
        start = 0
        for length in self.lengths if self.one_source else (sum(self.lengths),):
            order = torch.randperm(length, generator=dice) + start
            if self.groups is not None:
                order = _together(order, self.groups, dice)
            pieces = [*torch.split(order, self.batch_size)]
            if len(pieces[-1]) < self.batch_size and not self.keep_last:
                pieces.pop()
            batches += pieces
            start += length
        if len(self.lengths) > 1 and self.one_source:
            batches = [batches[i] for i in torch.randperm(len(batches), generator=dice).tolist()]
        return batches


def _together(order: torch.Tensor, groups: torch.Tensor, dice: torch.Generator) -> torch.Tensor:
    """Rows in an order where each group is in one piece: groups by chance, the rows of one as they were."""
    _, of = groups[order].unique(return_inverse=True)
    return order[torch.randperm(int(of.max()) + 1, generator=dice)[of].sort(stable=True).indices]


@part
class Batches:
    """How rows are grouped into batches."""

    one_source: bool = switch(True, "every batch comes from one data set, where several are given")
    last: str = choice(("drop", "keep"), "drop", "what happens to a last batch that is not full")
    together: str = words("", "a column: rows of one value come into a batch together, such as the communities of B3")

    def plan(self, lengths: Sequence[int], batch_size: int, seed: int, groups: torch.Tensor | None = None) -> Plan:
        """The batches of a run over data sets of these lengths. ``groups``: what ``grouped`` found. Raises DegenerateBatchError
        where a batch has no pair."""
        return Plan(tuple(lengths), batch_size, seed, self.one_source, self.last == "keep", groups)

    def grouped(self, rows: Rows) -> torch.Tensor | None:
        """(N,) int64: one number for each value of the column ``together``; None where none is named. Reads every row once.

        Raises DataError for a row without a value.
        """
        if not self.together:
            return None
        numbers: dict[Any, int] = {}
        found = []
        for place, row in enumerate(rows, 1):
            value = row.get(self.together)
            if not isinstance(value, (str, int)):
                rule = f"batches.together: row {place} has no whole number or text in {self.together}"
                raise DataError(rule, value=value, remedy="write the column with dipole communities, or leave batches.together out")
            found.append(numbers.setdefault(value, len(numbers)))
        return torch.tensor(found)


def share(indices: torch.Tensor, rank: int, world_size: int) -> torch.Tensor:
    """The rows of a whole batch that one process encodes: blocks in rank order, sizes differing by one at most."""
    if len(indices) < world_size:
        raise UsageError(f"a batch of {len(indices)} rows cannot be shared by {world_size} processes; raise step.batch_size")
    return indices.tensor_split(world_size)[rank]
