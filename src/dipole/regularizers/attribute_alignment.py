"""Attribute alignment: the first coordinate of the salient code follows a known number of the item.

    R = mean over sides of mean_{i < j} exp(-(a_i - a_j)^2 / (2 h)) (s_i0 - s_j0)^2

Shapes: s (B, e) ``meta["salient"]``, a (B,) ``meta["attribute"]``. Items of like attribute are drawn together along one coordinate; nothing
here pushes the others apart, which ``salient`` does. Source: SepCLR, arXiv:2402.11928, supervised variant; h as in the authors' code.
Errors: DegenerateBatchError on a single item; DataError where a side lacks ``salient`` or ``attribute``.

>>> import torch
>>> from dipole.core.encoded import Encoded
>>> x = torch.tensor([[0.0], [3.0]])
>>> AttributeAlignment().over_encoded({"queries": Encoded(x, meta={"salient": x, "attribute": torch.zeros(2)})})
tensor(9.)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dipole.core.encoded import Encoded
from dipole.core.pairs import Pairs
from dipole.core.part import part, positive
from dipole.core.vectors import one_each, wide
from dipole.pairwise import Channel, Mean, Tile, reduce
from dipole.pairwise.scores.neg_squared_distance import NegSquaredDistance
from dipole.regularizers.sides import meta_of, pooled_sides

__all__ = ["AttributeAlignment"]


@part
class AttributeAlignment:
    """A kernel on attributes weighs squared distances along one coordinate."""

    width: float = positive(0.025, "h, the width of the kernel on the attribute, squared")

    reads = ("pooled", "meta")

    def over_encoded(self, sides: Mapping[str, Encoded]) -> torch.Tensor:
        """Scalar, float32 or better."""
        pooled_sides(sides, "AttributeAlignment")
        both = zip(*(meta_of(sides, "AttributeAlignment", name) for name in ("salient", "attribute")), strict=True)
        return torch.stack([self._of(wide(s)[:, :1], a) for s, a in both]).mean()

    def _of(self, code: torch.Tensor, attribute: torch.Tensor) -> torch.Tensor:
        one_each("AttributeAlignment: attribute", attribute, len(code))
        known = attribute.to(code.dtype)[:, None]

        def weighted(tile: Tile) -> torch.Tensor:
            return -(tile.channels["attribute"] / (2 * self.width)).exp() * tile.scores

        distance = NegSquaredDistance()
        pairs = Pairs.aligned(code, code, score=distance).among("queries")
        value: torch.Tensor = reduce(weighted, pairs, channels={"attribute": Channel(known, known, distance)}, mean=Mean("total")).mean
        return value
