"""Align + uniform: pull positives together, spread each side over the sphere.

    l_i = w_a |q_i - k_i|^a + w_u (U(q) + U(k)) / 2,   U(x) = log mean_{i<j} exp(-t |x_i - x_j|^2)

Shapes: N aligned pairs of unit vectors (the loss does not normalise). Source: arXiv:2005.10242, eqs. 2 and 3. U is one
number for the whole batch, added to each row, so the mean over rows is the paper's loss. All keys, negatives
among them, are spread.
Values: U is 0 where all vectors coincide and -2t where they are orthogonal.
Relation: the limit of InfoNCE for many negatives; exp(-t |a-b|^2) corresponds to temperature 1 / (2t).
Errors: DegenerateBatchError on a single pair.

>>> import torch
>>> from dipole import Pairs
>>> AlignUniform()(Pairs.aligned(torch.eye(3), torch.eye(3)))
tensor([-4., -4., -4.])
"""

from __future__ import annotations

from dataclasses import replace

import torch

from dipole.core.pairs import Pairs
from dipole.core.part import at_least, part, positive
from dipole.pairwise import Tile, logmeanexp_total
from dipole.pairwise.scores.neg_squared_distance import NegSquaredDistance

__all__ = ["AlignUniform"]


@part
class AlignUniform:
    """Alignment of the pairs plus uniformity of both sides."""

    power: float = positive(2.0, "a, the power of the distance between positives")
    sharpness: float = positive(2.0, "t of the Gaussian potential")
    align_weight: float = at_least(0, 1.0, "w_a")
    uniform_weight: float = at_least(0, 1.0, "w_u")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        pairs.require_negatives("AlignUniform")
        pairs.reversed().require_negatives("AlignUniform")
        distances = replace(pairs, score=NegSquaredDistance())
        apart = -distances.positive_scores()
        align = apart if self.power == 2 else apart.clamp(min=1e-12).pow(self.power / 2)
        spread = (self.uniformity(pairs.among("queries")) + self.uniformity(pairs.among("keys"))) / 2
        return self.align_weight * align + self.uniform_weight * spread

    def uniformity(self, pairs: Pairs) -> torch.Tensor:
        """Scalar U of one side against itself: 0 at collapse, lower is more spread."""

        def potential(tile: Tile) -> torch.Tensor:
            return self.sharpness * tile.scores

        return logmeanexp_total(potential, replace(pairs, score=NegSquaredDistance()))
