"""Joint entropy: two codes of an item share nothing, so that no pair of items is near in both at once.

    R = mean over sides of mean_i log (1/B) sum_j exp(-(|c_i - c_j|^2 + |s_i - s_j|^2) / (2 t))          nats, at most 0

Shapes: c (B, d) ``pooled``, the common code; s (B, e) ``meta["salient"]``. Items with ``meta["label"]`` 0 are the background, whose salient
code counts as 0 (without labels: none is). Minimising R maximises the kernel estimate of the joint entropy of c and s, and so lowers
what they tell of each other. Source: SepCLR, arXiv:2402.11928 (k-JEM).
Relation: with s constant it is the uniformity of c, one log a row; ``salient`` shapes s itself.
Errors: DegenerateBatchError on a single item; DataError where the encoder returns no ``meta["salient"]``.

>>> import torch
>>> from dipole.core.encoded import Encoded
>>> x = torch.ones(3, 2)
>>> JointEntropy().over_encoded({"queries": Encoded(x, meta={"salient": x})})
tensor(0.)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dipole.core.encoded import Encoded
from dipole.core.pairs import Pairs
from dipole.core.part import part, positive
from dipole.pairwise import Channel, LogMeanExp, Tile, reduce
from dipole.pairwise.scores.neg_squared_distance import NegSquaredDistance
from dipole.regularizers.sides import foreground, pooled_sides

__all__ = ["JointEntropy"]


@part
class JointEntropy:
    """Log-mean of the product of two kernels."""

    width: float = positive(0.5, "t of both Gaussian kernels")

    reads = ("pooled", "meta")

    def over_encoded(self, sides: Mapping[str, Encoded]) -> torch.Tensor:
        """Scalar, float32 or better."""
        common = pooled_sides(sides, "JointEntropy")
        salient = foreground(sides, "JointEntropy")
        return torch.stack([self._of(c, s) for c, s in zip(common, salient, strict=True)]).mean()

    def _of(self, common: torch.Tensor, salient: torch.Tensor) -> torch.Tensor:
        def kernel(tile: Tile) -> torch.Tensor:
            return (tile.scores + tile.channels["salient"]) / (2 * self.width)

        distance = NegSquaredDistance()
        pairs = Pairs.aligned(common, common, score=distance)
        rows: torch.Tensor = reduce(kernel, pairs, channels={"salient": Channel(salient, salient, distance)}, rows=LogMeanExp("rows")).rows
        return rows.mean()
