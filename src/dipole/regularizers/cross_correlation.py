"""Cross-correlation: each coordinate agrees with itself across the two sides and with no other.

    R = sum_a (1 - C_aa)^2 + redundancy * sum_{a != b} C_ab^2,   C = Z_q^T Z_k / B, Z standardised over the batch

Shapes: (B, d) both sides, before normalisation where the encoder keeps that; standard deviations divide by B, so that
C_aa <= 1. Source: arXiv:2103.03230, eqs. 1 and 2.
Relation: Barlow Twins; BarLIP of arXiv:2305.08675 is 0.025 times this on projectors that end in a BatchNorm.
Errors: DegenerateBatchError on a single item or a coordinate that is the same for all; DataError without pairs.

>>> import torch
>>> from dipole.core.encoded import Encoded
>>> x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
>>> CrossCorrelation().over_encoded({"queries": Encoded(x), "keys": Encoded(x.flip(1))})
tensor(2.0100)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dipole.core.encoded import Encoded
from dipole.core.errors import DegenerateBatchError
from dipole.core.part import at_least, part
from dipole.regularizers.sides import READS, both_sides

__all__ = ["CrossCorrelation"]


@part
class CrossCorrelation:
    """Identity as the target of the correlation between two views."""

    redundancy: float = at_least(0.0, 5e-3, "lambda, the weight of the off-diagonal part")

    reads = READS

    def over_encoded(self, sides: Mapping[str, Encoded]) -> torch.Tensor:
        """Scalar, float32 or better."""
        first, second = (_standardised(x) for x in both_sides(sides, "CrossCorrelation"))
        return from_identity(first.T @ second / len(first), self.redundancy)


def from_identity(correlation: torch.Tensor, redundancy: float) -> torch.Tensor:
    """How far a (d, d) matrix is from the identity, its off-diagonal entries weighted by ``redundancy``."""
    agree = correlation.diagonal()
    return (1 - agree).square().sum() + redundancy * (correlation.square().sum() - agree.square().sum())


def _standardised(x: torch.Tensor) -> torch.Tensor:
    deviation = x.std(0, correction=0)
    if bool((deviation == 0).any()):
        raise DegenerateBatchError(
            "CrossCorrelation: some coordinates are the same for every item, so their correlation is not defined",
            value=f"{int((deviation == 0).sum())} of {x.shape[1]}",
            remedy="raise batch_size, or add the variance term",
        )
    return (x - x.mean(0)) / deviation
