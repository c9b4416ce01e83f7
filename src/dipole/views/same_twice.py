"""Each item twice: the encoder's dropout is the only difference between a query and its positive.

Source: SimCSE, arXiv:2104.08821, section 3. Copies of an item within a batch are left out of each other's negatives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from dipole.core.pairs import Pairs
from dipole.core.part import part, words
from dipole.core.protocols import Batch, Row
from dipole.core.scores import Score
from dipole.core.vectors import Vectors
from dipole.views.ids import content_ids, task_ids
from dipole.views.take import take

__all__ = ["SameTwice"]


@part
class SameTwice:
    """``queries`` and ``keys`` are the same items in the same order."""

    role: str = words("anchor", "the column the items are in")

    def __call__(self, rows: Sequence[Row]) -> Batch:
        items = take(rows, self.role, "same_twice")
        ids = content_ids(items)
        meta = {"queries.id": ids, "keys.id": ids}
        if (tasks := task_ids(rows, "same_twice")) is not None:
            meta |= {"queries.task": tasks, "keys.task": tasks}
        return Batch({"queries": items, "keys": items}, meta)

    def pairs(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor], score: Score) -> Pairs:
        return Pairs.aligned(sides["queries"], sides["keys"], score=score, query_ids=meta["queries.id"])
