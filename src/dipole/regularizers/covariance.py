"""Covariance: coordinates of the embedding are decorrelated over the batch.

    R = sum over sides of (1/d) sum_{a != b} C_ab^2,   C = (X - mean)^T (X - mean) / (B - 1)

Shapes: (B, d) a side, before normalisation where the encoder keeps that. Source: arXiv:2105.04906, eqs. 3 and 4.
Relation: ``cross_correlation`` compares two sides and standardises; ``variance`` keeps the diagonal up.
Errors: DegenerateBatchError on a single item.

>>> import torch
>>> from dipole.core.encoded import Encoded
>>> Covariance().over_encoded({"queries": Encoded(torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))})
tensor(4.)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dipole.core.encoded import Encoded
from dipole.core.part import part
from dipole.regularizers.sides import READS, each_side

__all__ = ["Covariance"]


@part
class Covariance:
    """The squares of the off-diagonal covariances."""

    reads = READS

    def over_encoded(self, sides: Mapping[str, Encoded]) -> torch.Tensor:
        """Scalar, float32 or better."""
        total = []
        for x in each_side(sides, "Covariance"):
            centred = x - x.mean(0)
            squares = (centred.T @ centred / (len(x) - 1)).square()
            total.append((squares.sum() - squares.diagonal().sum()) / x.shape[1])
        return torch.stack(total).sum()
