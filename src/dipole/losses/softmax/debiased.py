"""Debiased softmax: the share of negatives that are positives unseen is estimated and taken out.

    l_i = -log( e^z_ii / (e^z_ii + n_i g_i) ),   g_i = max( (m_i - p e^z_ii) / (1 - p), e^(-1 / t) ),   z = s / t
    m_i = sum_j w_ij e^z_ij / n_i over the negatives, w_ij = n_i softmax_j(b z_ij)

Shapes: N queries, M >= N keys, aligned, n_i negatives in row i; cosines, since the floor e^(-1/t) is the least e^z a cosine allows.
One value per query, nats. Source: arXiv:2007.00224 (one positive); with hardness b arXiv:2010.04592.
Relation: p = 0, b = 0 is InfoNCE; p = 0 is HNNCE. p is the chance that a random other item is of the row's class.
A row without any negative has value 0. Errors: DegenerateBatchError on a single key.

>>> import torch
>>> from dipole import Pairs
>>> Debiased(temperature=1.0, class_prior=0.0)(Pairs.aligned(torch.eye(2), torch.eye(2)))
tensor([0.3133, 0.3133])
"""

from __future__ import annotations

import math

import torch
from torch.nn.functional import softplus

from dipole.core.pairs import Pairs
from dipole.core.part import at_least, between, part, positive
from dipole.losses.softmax.hn_nce import hard_repulsion
from dipole.pairwise import Count, reduce

__all__ = ["Debiased"]


@part
class Debiased:
    """Softmax against negatives corrected for the positives among them, in nats per query."""

    temperature: float = positive(0.5, "scores are divided by it")
    class_prior: float = between(0.0, 0.99, 0.1, "p, the chance that another item is of the row's class")
    hardness: float = at_least(0.0, 0.0, "b; 0 weighs all negatives alike")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        pairs.require_negatives("Debiased")
        positives = pairs.positive_scores() / self.temperature
        total, _ = hard_repulsion(pairs, self.temperature, self.hardness, False)
        number = reduce(lambda tile: ~tile.positive, pairs, n=Count("rows")).n
        some = number > 0
        total, number = total.where(some, 0.0), number.clamp(min=1).to(total.dtype).log()
        taken = positives + number + (math.log(self.class_prior) if self.class_prior else -math.inf)
        floor = number - 1 / self.temperature
        apart = (taken - total).clamp(max=-1e-6)  # log of the share that is taken out, below 1
        cleaned = total + torch.log(-torch.expm1(apart)) - math.log1p(-self.class_prior)
        repelled = torch.maximum(torch.where(taken < total, cleaned, floor), floor)
        return torch.where(some, softplus(repelled - positives), 0.0)
