"""Focal InfoNCE: rows whose positive is already picked count less.

    l_i = -(1 - P_ii)^g log P_ii,   P_ij = softmax_j(s_ij / t)      one value per query, nats

Shapes: N queries, M >= N keys, aligned. Source: the focal factor of arXiv:1708.02002, eq. 4, on a softmax over pairs, as in
arXiv:2304.00719. The gradient passes through the factor.
Relation: g = 0 is InfoNCE.
Errors: DegenerateBatchError on a single key.

>>> import torch
>>> from dipole import Pairs
>>> FocalInfoNCE(temperature=1.0, focus=0.0)(Pairs.aligned(torch.eye(2), torch.eye(2)))
tensor([0.3133, 0.3133])
"""

from __future__ import annotations

import torch
from torch.nn.functional import softplus

from dipole.core.pairs import Pairs
from dipole.core.part import at_least, part, positive
from dipole.pairwise import logsumexp_negatives

__all__ = ["FocalInfoNCE"]


@part
class FocalInfoNCE:
    """Softmax over all candidates, easy rows turned down, in nats per query."""

    temperature: float = positive(0.07, "scores are divided by it")
    focus: float = at_least(0.0, 2.0, "g; 0 counts all rows alike")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        pairs.require_negatives("FocalInfoNCE")
        ahead = pairs.positive_scores() / self.temperature - logsumexp_negatives(pairs, self.temperature)
        return softplus(-ahead) * (-self.focus * softplus(ahead)).exp()  # 1 - P = sigmoid(-ahead)
