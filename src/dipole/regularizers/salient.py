"""Salient: a code that only target items have: their two views agree, all are spread, the background sits at 0.

    R = align + uniform * (U(z1) + U(z2)) / 2 + background * (A(s1) + A(s2)) / 2
    align = mean over targets of |s1 - s2|^2 / (2 t),  U(z) = log mean_{i < j} exp(-|z_i - z_j|^2 / (2 t)),
    A(s) = mean over the background of |s|^2 / (2 t)

Shapes: s (B, e) ``meta["salient"]`` of both sides, not normalised; z the same with rows of the background, ``meta["label"]`` 0, set
to 0, so that targets are pushed from each other and from 0. Source: SepCLR, arXiv:2402.11928.
Relation: ``align_uniform`` with sharpness 1 / (2 t) on the common code; ``joint_entropy`` keeps the two codes apart.
Errors: DegenerateBatchError on a single item and where no item is a target or none is background; DataError without pairs.

>>> import torch
>>> from dipole.core.encoded import Encoded
>>> x, y = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([0, 1, 1])
>>> side = Encoded(x, meta={"salient": x, "label": y})
>>> Salient(uniform=0.0).over_encoded({"queries": side, "keys": side})
tensor(0.)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dipole.core.encoded import Encoded
from dipole.core.errors import DataError, DegenerateBatchError
from dipole.core.pairs import Pairs
from dipole.core.part import at_least, part, positive
from dipole.core.vectors import wide
from dipole.pairwise import Tile, logmeanexp_total
from dipole.pairwise.scores.neg_squared_distance import NegSquaredDistance
from dipole.regularizers.sides import foreground, meta_of, pooled_sides

__all__ = ["Salient"]


@part
class Salient:
    """Alignment and uniformity of a code that the background does not have."""

    width: float = positive(0.5, "t of the Gaussian kernel")
    uniform: float = at_least(0.0, 2.0, "weight of the uniform term")
    background: float = at_least(0.0, 1.0, "weight of the background's distance from 0")

    reads = ("pooled", "meta")

    def over_encoded(self, sides: Mapping[str, Encoded]) -> torch.Tensor:
        """Scalar, float32 or better."""
        pooled_sides(sides, "Salient")
        codes = [wide(s) for s in meta_of(sides, "Salient", "salient")]
        if len(codes) != 2 or codes[0].shape != codes[1].shape:
            raise DataError("Salient: needs queries and keys that belong together one by one", value=[tuple(c.shape) for c in codes])
        target = meta_of(sides, "Salient", "label")[0] != 0
        if bool(target.all()) or not bool(target.any()):
            raise DegenerateBatchError(
                "Salient: a batch needs target items and background items (label 0)",
                value=f"{int(target.sum())} targets of {len(target)}",
                remedy="mix both sets in every batch, or raise batch_size",
            )
        align = (codes[0] - codes[1])[target].square().sum(1).mean()
        rest = torch.stack([s[~target].square().sum(1).mean() for s in codes]).mean()
        spread = torch.stack([self._uniformity(z) for z in foreground(sides, "Salient")]).mean()
        return (align + self.background * rest) / (2 * self.width) + self.uniform * spread

    def _uniformity(self, z: torch.Tensor) -> torch.Tensor:
        def potential(tile: Tile) -> torch.Tensor:
            return tile.scores / (2 * self.width)

        return logmeanexp_total(potential, Pairs.aligned(z, z, score=NegSquaredDistance()).among("queries"))
