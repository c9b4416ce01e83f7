"""Chamfer: hidden parts of a cloud, told again point by point, should lie where the points were, in whatever order.

    R = sum over sides of mean_{b, g hidden} [ mean_s min_r |p_s - x_r|^2 + mean_r min_s |p_s - x_r|^2 ]

Shapes: ``meta["predicted"]`` and ``meta["points"]`` (B, G, S, 3), the p and x of G groups of S points; ``meta["masked"]`` (B, G): the
hidden groups. Source: Chamfer-L2 as in Point-MAE, arXiv:2203.06604, eq. 6, and Point-CMAE, arXiv:2407.05862. In the unit of the
coordinates, squared. Relation: used beside ``masked_agreement``, which alone is least where all tokens are one.
Errors: DegenerateBatchError where no group is hidden; DataError where the encoder tells no points.

>>> from dipole.core.encoded import Encoded
>>> x = torch.tensor([[[[0.0, 0, 0], [1, 0, 0]]]])
>>> told = {"points": x, "predicted": x.flip(2) + torch.tensor([0, 0, 2.0]), "masked": torch.tensor([[True]])}
>>> Chamfer().over_encoded({"queries": Encoded(torch.zeros(1, 1), meta=told)})
tensor(8.)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dipole.core.encoded import Encoded
from dipole.core.errors import DataError, DegenerateBatchError
from dipole.core.part import part
from dipole.core.vectors import wide
from dipole.regularizers.sides import meta_of

__all__ = ["Chamfer"]


@part
class Chamfer:
    """Squared Chamfer distance of the hidden groups."""

    reads = ("meta",)

    def over_encoded(self, sides: Mapping[str, Encoded]) -> torch.Tensor:
        """Scalar, float32 or better."""
        found = [meta_of(sides, "Chamfer", name) for name in ("predicted", "points", "masked")]
        return torch.stack([self._of(*side) for side in zip(*found, strict=True)]).sum()

    def _of(self, predicted: torch.Tensor, points: torch.Tensor, masked: torch.Tensor) -> torch.Tensor:
        if predicted.shape != points.shape or predicted.shape[:2] != masked.shape:
            shapes = tuple(predicted.shape), tuple(points.shape), tuple(masked.shape)
            raise DataError("Chamfer: predicted and points must be (B, G, S, 3), masked (B, G)", value=shapes)
        if not bool(masked.any()):
            raise DegenerateBatchError("Chamfer: no group of the batch is hidden", value=tuple(masked.shape), remedy="raise encoder.ratio")
        p, x = wide(predicted[masked]), wide(points[masked]).to(wide(predicted))
        apart = (p[:, :, None] - x[:, None]).square().sum(3)  # (groups, S, S)
        return (apart.amin(2).mean(1) + apart.amin(1).mean(1)).mean()
