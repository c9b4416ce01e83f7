"""Focal sigmoid: each pair is judged alone, and pairs that are judged well already count less.

    l_i = sum_j 2 a_ij (1 - p_ij)^g softplus(-z_ij s_ij / t),   p_ij = sigmoid(z_ij s_ij / t)    one value per query, nats

z_ij = 1 for positives, -1 otherwise; a_ij = a for positives, 1 - a otherwise. The gradient flows through the factor too.

Shapes: N queries, M keys, any number of positives a row. Source: arXiv:2305.07011, eq. 3, which has no bias and learns t; as
every pair is judged once, the paper's two directions are equal and one is computed. t is learned as log(1 / t) from its start.
Relation: SigLIP with bias 0 where g = 0 and a = 1/2.

>>> import torch
>>> from dipole import Pairs
>>> FocalSigmoid(temperature=1.0, focus=1.0)(Pairs.aligned(torch.zeros(2, 2), torch.zeros(2, 2))).tolist()
[0.6931471824645996, 0.6931471824645996]
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.functional import softplus

from dipole.core.pairs import Pairs
from dipole.core.part import at_least, between, part, positive
from dipole.pairwise import Tile, sum_rows

__all__ = ["FocalSigmoid"]


@part
class FocalSigmoid(nn.Module):
    """Pairwise sigmoid with a focal factor, summed over candidates, in nats per query."""

    temperature: float = positive(0.1, "where the learned temperature starts")
    focus: float = at_least(0, 1.0, "g: 0 counts all pairs alike, more looks at the wrong ones")
    balance: float = between(0, 1, 0.5, "a: the share of positives in the weight; 1/2 leaves both as they are")

    def __post_init__(self) -> None:
        self.log_scale = nn.Parameter(torch.tensor(-math.log(self.temperature)))

    def forward(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""

        def mistakes(tile: Tile) -> torch.Tensor:
            logits = tile.scores * tile.params["scale"]
            match = tile.positive_or_none
            wrong = logits if match is None else torch.where(match, -logits, logits)  # log odds of a mistake
            loss = softplus(wrong) * (-self.focus * softplus(-wrong)).exp()  # 1 - p = sigmoid(wrong)
            rest = 2 * (1 - self.balance) * loss
            return rest if match is None else torch.where(match, 2 * self.balance * loss, rest)

        return sum_rows(mistakes, pairs, params={"scale": self.log_scale.exp()})
