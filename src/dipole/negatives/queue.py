"""Queue: the keys of the last batches are every row's negatives, so that the batch need not be large.

    columns = [keys of this batch | the last K keys of earlier ones]          constants: no gradient reaches them

With ``momentum`` around the encoder and ``of = "keys"`` this is MoCo's queue; without it, keys of a weight that has moved on
since (cross-batch memory). Where positives are told by label, entries of a row's label are positives, as in XBM. ``of`` a
side that ends in ``_twin``: the queue is fed by the momentum encoder's vectors of that side's items, as in ESimCSE.

Shapes: K vectors of d dimensions. Source: MoCo, arXiv:1911.05722, section 3.2; XBM, arXiv:1912.06798, algorithm 1 (``start``:
its warm-up); ESimCSE, arXiv:2109.04380, section 3.2. Relation: ``task_queues`` keeps one a task; ``outside_batch`` leaves the
batch's own negatives out, as MoCo does. The queue starts empty and grows; MoCo's code starts it with random vectors.
Errors: UsageError where the side is missing, DataError for token vectors or another dimension than the queue holds.

>>> queue, one = Queue(size=2, of="keys"), torch.eye(2)
>>> queue.update({"keys": one}, {})
>>> queue.extend(Pairs.aligned(one, one), {"keys": one}, {}).shape
(2, 4)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from dipole.core.pairs import Pairs
from dipole.core.part import at_least, names, part, words
from dipole.core.vectors import Vectors
from dipole.negatives.memory import Memory, joined, known_of, side_of

__all__ = ["Queue"]


@part
class Queue(nn.Module):
    """First in, first out. Copies of a row's own item are left out of its negatives."""

    size: int = at_least(1, 65536, "K: vectors kept")
    of: str = words("keys", "the side whose vectors are kept; NAME_twin: the items of NAME, encoded by the momentum encoder")
    start: int = at_least(0, 0, "steps before they serve as columns; they are collected from the first")
    joins: tuple[str, ...] = names((), "the comparisons it extends, by the side that answers; left out: all")

    def __post_init__(self) -> None:
        self.memory = Memory(self.size, "queue")

    @property
    def asks(self) -> Mapping[str, str]:
        """The side of the twin, where it is not the views'."""
        return {self.of: self.of.removesuffix("_twin")} if self.of.endswith("_twin") else {}

    def extend(self, pairs: Pairs, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor]) -> Pairs:
        """The pairs with the queue as further columns."""
        side_of("queue", self.of, sides)
        if int(self.memory.steps) < self.start:
            return pairs
        return joined("queue", pairs, self.memory.held, self.of.removesuffix("_twin"), meta)

    def update(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor]) -> None:
        """Put the step's vectors in."""
        self.memory.push(side_of("queue", self.of, sides), **known_of(self.of.removesuffix("_twin"), meta))
