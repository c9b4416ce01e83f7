"""Masked agreement: what is told of a part hidden in both views of an item should be told alike, by cosine.

    R = mean_{b, g: hidden in both} 1 - cos(D_bg, D'_bg)        in 0 .. 2

Shapes: ``tokens`` (B, G, d) of queries (D) and keys (D') in one order of parts; ``meta["masked"]`` (B, G) of each. Source: Point-CMAE,
arXiv:2407.05862, its contrast; nothing repels, and neither side is held still. The released code draws each such token to all G tokens of
the other view instead, ``all_parts``: for orthonormal tokens that are alike it has (G - 1) / G where this has 0.
Relation: alone it is least where all tokens are one; ``chamfer`` beside it asks that they tell parts apart.
Errors: DegenerateBatchError where no part is hidden in both; DataError where the two have no tokens of one shape.

>>> from dipole.core.encoded import Encoded
>>> one = Encoded(torch.eye(2), torch.eye(2)[None].expand(2, 2, 2), meta={"masked": torch.ones(2, 2, dtype=torch.bool)})
>>> [float(MaskedAgreement(all_parts=code).over_encoded({"queries": one, "keys": one})) for code in (False, True)]
[0.0, 0.5]
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn.functional import normalize

from dipole.core.encoded import Encoded
from dipole.core.errors import DataError, DegenerateBatchError
from dipole.core.part import part, switch
from dipole.core.vectors import wide
from dipole.regularizers.sides import meta_of

__all__ = ["MaskedAgreement"]


@part
class MaskedAgreement:
    """One minus the cosine of the two views' hidden parts."""

    all_parts: bool = switch(False, "draw to all parts of the other view, as the released code does")

    reads = ("tokens", "meta")

    def over_encoded(self, sides: Mapping[str, Encoded]) -> torch.Tensor:
        """Scalar, float32 or better."""
        first, second = (sides[name].tokens if name in sides else None for name in ("queries", "keys"))
        masked = meta_of(sides, "MaskedAgreement", "masked")
        if first is None or second is None or first.shape != second.shape or masked[0].shape != first.shape[:2]:
            shapes = [None if t is None else tuple(t.shape) for t in (first, second)]
            raise DataError("MaskedAgreement: needs tokens of queries and keys in one shape, and who is masked", value=shapes)
        both = masked[0] & masked[1]
        if not bool(both.any()):
            raise DegenerateBatchError(
                "MaskedAgreement: no part is hidden in both views", value=tuple(both.shape), remedy="raise encoder.ratio or batch_size"
            )
        one, other = (normalize(wide(t), dim=2) for t in (first, second))
        target = other.mean(1, keepdim=True).expand_as(other) if self.all_parts else other
        return (1 - (one * target).sum(2))[both].mean()
