"""DCLW: DCL that pulls dissimilar positives harder.

    l_i = -w_i s_ii / t + log sum_{j not positive} exp(s_ij / t),   w_i = 2 - exp(s_ii / u) / mean_j exp(s_jj / u)

Shapes: N queries, M >= N keys, aligned; one value per query, nats; may be negative. The mean in w runs over the whole batch, so
the weights' mean is 1; a very easy positive can have a negative weight. Source: arXiv:2110.06848 (u there sigma).
Relation: DCL where all positives score alike. Weights carry no gradient, as in lightly; a widely used implementation
(raminnakhli/Decoupled-Contrastive-Learning) lets it through: ``live_weights``.
Errors: as DCL.

>>> import torch
>>> from dipole import Pairs
>>> DCLW(temperature=1.0)(Pairs.aligned(torch.eye(2), torch.eye(2)))
tensor([-1., -1.])
"""

from __future__ import annotations

import math

import torch

from dipole.core.pairs import Pairs
from dipole.core.part import part, positive, switch
from dipole.losses.softmax.dcl import repulsion

__all__ = ["DCLW"]


@part
class DCLW:
    """Decoupled softmax with weighted positives, in nats per query."""

    temperature: float = positive(0.1, "scores are divided by it")
    sharpness: float = positive(0.5, "u: the smaller, the more the weights of positives differ")
    live_weights: bool = switch(False, "let the gradient through the weights, as one implementation does")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        repelled = repulsion("DCLW", pairs, self.temperature)
        scores, everyone = pairs.positive_scores(), pairs.all_positive_scores() / self.sharpness
        weights = 2 - (scores / self.sharpness - everyone.logsumexp(0) + math.log(len(everyone))).exp()
        return repelled - (weights if self.live_weights else weights.detach()) * scores / self.temperature
