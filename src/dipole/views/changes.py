"""Changes: what happened to an item against what its description says happened; both are differences of vectors.

    q_i = unit(E(after_i) - E(before_i)),   k_i = unit(E(said_i) - E(neutral_i))      then pairs as usual: row i belongs to column i

So a constant that is in all vectors of a side falls out. Rows whose descriptions are alike (the same attribute edited in two images) are
no negatives of each other. Source: directional CLIP losses, arXiv:2108.00946, eq. 2; contrasted over a batch, arXiv:2406.04413.
Relation: a pair whose item did not change has a vector of length 0, which scores 0 with everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch.nn.functional import normalize

from dipole.core.errors import DataError
from dipole.core.pairs import Pairs
from dipole.core.part import part, words
from dipole.core.protocols import Batch, Row
from dipole.core.scores import Score
from dipole.core.vectors import Vectors, one_tensor
from dipole.views.ids import content_ids
from dipole.views.take import take

__all__ = ["Changes"]


@part
class Changes:
    """Sides ``queries`` (after), ``before``, ``keys`` (said) and ``neutral``, with ``keys.id`` for the description of the change."""

    after: str = words("anchor", "the column of items after the change")
    before: str = words("before", "the column of items before it")
    said: str = words("positive", "the column of what describes the change")
    neutral: str = words("neutral", "the column of what describes the item without it")

    def __call__(self, rows: Sequence[Row]) -> Batch:
        items = {
            side: take(rows, role, "changes")
            for side, role in (("queries", self.after), ("before", self.before), ("keys", self.said), ("neutral", self.neutral))
        }
        told = [f"{said} {neutral}" for said, neutral in zip(content_ids(items["keys"]), content_ids(items["neutral"]), strict=True)]
        return Batch(items, {"keys.id": content_ids(told)})

    def pairs(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor], score: Score) -> Pairs:
        after, before, said, neutral = (one_tensor(sides[side], "changes") for side in ("queries", "before", "keys", "neutral"))
        if after.shape != before.shape or said.shape != neutral.shape:
            raise DataError("changes: both vectors of a difference must have one dimension", value=(tuple(after.shape), tuple(said.shape)))
        q, k = normalize(after - before, dim=1), normalize(said - neutral, dim=1)
        return Pairs.aligned(q, k, score=score, key_ids=meta["keys.id"])
