"""Anisotropy: the mean cosine of different items, as something to lower, so that vectors do not all point one way.

    R = sum over sides of (1 / (B (B - 1))) sum_{i != j} cos(x_i, x_j)

Shapes: (B, d) pooled vectors of a side. Range: -1 / (B - 1) to 1 a side. Cost: O(B d), since the sum over pairs is the squared length of
a sum. Source: arXiv:1909.00512, section 4.1; 1 minus it is the isotropy of arXiv:2210.14140, eq. 3.
Relation: ``dipole.diagnostics.anisotropy`` is the same number without a gradient; ``align_uniform`` spreads by a kernel instead.
Errors: DegenerateBatchError on a single item.

>>> import torch
>>> from dipole.core.encoded import Encoded
>>> Anisotropy().over_encoded({"queries": Encoded(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 2.0]]))})
tensor(0.3333)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn.functional import normalize

from dipole.core.encoded import Encoded
from dipole.core.part import part
from dipole.regularizers.sides import pooled_sides

__all__ = ["Anisotropy"]


@part
class Anisotropy:
    """Mean cosine over pairs of different items."""

    reads = ("pooled",)

    def over_encoded(self, sides: Mapping[str, Encoded]) -> torch.Tensor:
        """Scalar, float32 or better."""
        total = []
        for x in pooled_sides(sides, "Anisotropy"):
            unit = normalize(x, dim=-1)
            total.append((unit.sum(0).square().sum() - unit.square().sum()) / (len(x) * (len(x) - 1)))
        return torch.stack(total).sum()
