"""Variance: every coordinate keeps a standard deviation of at least a target over the batch, so that nothing collapses.

    R = sum over sides of (1/d) sum_c relu(target - sqrt(Var_c + epsilon)),   Var_c unbiased, over the batch

Shapes: (B, d) a side, before normalisation where the encoder keeps that. Source: arXiv:2105.04906, eqs. 1 and 2.
Relation: VICReg is this with weight 25, ``covariance`` with weight 1 and the squared distance of pairs with weight 25.
Errors: DegenerateBatchError on a single item.

>>> import torch
>>> from dipole.core.encoded import Encoded
>>> Variance(epsilon=0.0).over_encoded({"queries": Encoded(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]))})
tensor(0.1464)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dipole.core.encoded import Encoded
from dipole.core.part import at_least, part, positive
from dipole.regularizers.sides import READS, each_side

__all__ = ["Variance"]


@part
class Variance:
    """A hinge on the standard deviation of every coordinate."""

    target: float = positive(1.0, "the standard deviation above which nothing is asked")
    epsilon: float = at_least(0.0, 1e-4, "added to the variance, so that the root has a slope at 0")

    reads = READS

    def over_encoded(self, sides: Mapping[str, Encoded]) -> torch.Tensor:
        """Scalar, float32 or better."""
        deviations = [(x.var(0) + self.epsilon).sqrt() for x in each_side(sides, "Variance")]
        return torch.stack([(self.target - s).relu().mean() for s in deviations]).sum()
