"""Additive margin: InfoNCE in which the positive must win by a margin.

    l_i = -log( e^((s_ii - m) / t) / (e^((s_ii - m) / t) + sum_{j not positive} e^(s_ij / t)) )      one value per query, nats

Shapes: N queries, M >= N keys, aligned. Source: arXiv:1801.09414, eq. 4 (CosFace); arXiv:1902.08564 on translation pairs.
Relation: InfoNCE with m / t added to every negative's logit; m = 0 is InfoNCE. AngularMargin adds to the angle.
Errors: DegenerateBatchError on a single key.

>>> import torch
>>> from dipole import Pairs
>>> AdditiveMargin(temperature=1.0, margin=1.0)(Pairs.aligned(torch.eye(2), torch.eye(2)))
tensor([0.6931, 0.6931])
"""

from __future__ import annotations

import torch
from torch.nn.functional import softplus

from dipole.core.pairs import Pairs
from dipole.core.part import at_least, part, positive
from dipole.pairwise import logsumexp_negatives

__all__ = ["AdditiveMargin"]


@part
class AdditiveMargin:
    """Softmax over all candidates with a handicap for the positive, in nats per query."""

    temperature: float = positive(0.05, "scores are divided by it")
    margin: float = at_least(0.0, 0.3, "m, in units of the score")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        pairs.require_negatives("AdditiveMargin")
        positives = (pairs.positive_scores() - self.margin) / self.temperature
        return softplus(logsumexp_negatives(pairs, self.temperature) - positives)
