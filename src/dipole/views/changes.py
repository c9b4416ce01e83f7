"""Changes: what happened to an item against what its description says happened; both are differences of vectors.

    q_i = unit(E(after_i) - E(before_i)),   k_i = unit(E(said_i) - E(neutral_i))      then pairs as usual: row i belongs to column i

So a constant that is in all vectors of a side falls out. Rows whose descriptions are alike (the same attribute edited in two images) are
no negatives of each other. Source: directional CLIP losses, arXiv:2108.00946, eq. 2; contrasted over a batch, arXiv:2406.04413.
Relation: an item that did not change, and a description that says nothing, has the vector 0: it scores 0 with everything, learns nothing,
and leaves the other rows' gradients alone. A difference no longer than the rounding of its two vectors is such a one.
Errors: DataError where the two vectors of a difference differ in length; DegenerateBatchError where no item of the batch changed, or no
description says anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch.nn.functional import normalize

from dipole.core.errors import DataError, DegenerateBatchError
from dipole.core.pairs import Pairs
from dipole.core.part import part, words
from dipole.core.protocols import Batch, Row
from dipole.core.scores import Score
from dipole.core.vectors import Vectors, one_tensor, wide
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
        q, k = difference(after, before, f"{self.after} and {self.before}"), difference(said, neutral, f"{self.said} and {self.neutral}")
        return Pairs.aligned(q, k, score=score, key_ids=meta["keys.id"])


def difference(first: torch.Tensor, second: torch.Tensor, names: str) -> torch.Tensor:
    """(N, d) float32 or better: the difference's direction; 0, without a gradient, where it is lost in the vectors' rounding."""
    apart = wide(first) - wide(second)
    with torch.no_grad():
        length = apart.norm(dim=1, keepdim=True)
        rounding = torch.finfo(first.dtype).eps * (wide(first).norm(dim=1, keepdim=True) + wide(second).norm(dim=1, keepdim=True))
        lost = (length <= rounding) & length.isfinite()  # what is not finite shall be found by the loss
    if len(lost) and bool(lost.all()):
        rule = f"changes: in no row of the batch do the vectors of {names} differ"
        raise DegenerateBatchError(rule, value=len(lost), remedy="check these columns, and that an edit does not start at nothing")
    return normalize(apart.masked_fill(lost, 1.0), dim=1).masked_fill(lost, 0.0)  # filled before as well: at 0 the slope has no bound
