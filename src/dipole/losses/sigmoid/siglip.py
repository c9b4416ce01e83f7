"""SigLIP: each pair is judged alone, match or not, by a sigmoid with learned scale and bias.

    l_i = sum_j softplus(-z_ij (s_ij / t + b)),   z_ij = 1 for positives, -1 otherwise      one value per query, nats

Shapes: N queries, M keys, any number of positives a row. Source: arXiv:2303.15343, alg. 1; the sign of b follows the
authors' code, not the printed equation. t is learned as log(1 / t) from its start, so is b.
Relation: no normaliser, so nothing couples two entries; the mean over rows is the paper's loss.

>>> import torch
>>> from dipole import Pairs
>>> SigLIP(temperature=1.0, bias=0.0)(Pairs.aligned(torch.zeros(2, 2), torch.zeros(2, 2))).tolist()
[1.3862943649291992, 1.3862943649291992]
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.functional import softplus

from dipole.core.pairs import Pairs
from dipole.core.part import part, positive, real
from dipole.pairwise import Tile, sum_rows

__all__ = ["SigLIP"]


@part
class SigLIP(nn.Module):
    """Pairwise sigmoid, summed over candidates, in nats per query."""

    temperature: float = positive(0.1, "where the learned temperature starts; 1/10 in the paper")
    bias: float = real(-10.0, "where the learned bias starts; about the log odds of a positive")

    def __post_init__(self) -> None:
        self.log_scale = nn.Parameter(torch.tensor(-math.log(self.temperature)))
        self.offset = nn.Parameter(torch.tensor(float(self.bias)))

    def forward(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""

        def mistakes(tile: Tile) -> torch.Tensor:
            logits = tile.scores * tile.params["scale"] + tile.params["bias"]
            match = tile.positive_or_none
            return softplus(logits if match is None else torch.where(match, -logits, logits))

        return sum_rows(mistakes, pairs, params={"scale": self.log_scale.exp(), "bias": self.offset})
