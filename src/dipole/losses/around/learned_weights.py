"""Learned weights: a small network says how much each negative counts.

    w_ij = sigmoid(v tanh(W (q_i + k_j) + b) + c)      multiplies exp(s_ij / t) of every negative in the normaliser inside

Shapes: N queries, M keys of ``dimension`` d; W (hidden, d); positives weigh 1. One value per query, in the unit of the loss inside,
which must be one with a softmax normaliser. The network learns together with the encoder, from the same loss.
Source: AdaMEOW, arXiv:2212.13847, where the positive is weighted too; here it is not, so that shrinking all weights
gains nothing once negatives are gone.
Relation: weights of 1 leave the loss inside as it is. Nothing holds the weights up: their gradient always asks for smaller ones.
Errors: DataError where vectors have another dimension.

>>> import torch
>>> from dipole import Pairs
>>> from dipole.losses import InfoNCE
>>> loss = LearnedWeights(InfoNCE(temperature=1.0), dimension=2)
>>> for parameter in loss.outer.parameters():  # every weight is 1/2
...     _ = parameter.data.zero_()
>>> loss(Pairs.aligned(torch.ones(3, 2), torch.ones(3, 2))).exp().detach().round()
tensor([2., 2., 2.])
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn.functional import logsigmoid

from dipole.core.pairs import Pairs
from dipole.core.part import at_least, inner, part
from dipole.core.protocols import PairLoss
from dipole.core.scores import Channel, Factors
from dipole.core.vectors import Vectors, leading, of_length, one_tensor, wide
from dipole.losses.softmax.infonce import InfoNCE

__all__ = ["LearnedWeights"]


@part
class LearnedWeights(nn.Module):
    """The loss inside, with negatives weighted by a network of their sum with the query."""

    loss: PairLoss = inner("losses", InfoNCE, "a loss with a softmax normaliser")
    dimension: int = at_least(1, 384, "d, of the vectors")
    hidden: int = at_least(1, 16, "units of the network")

    def __post_init__(self) -> None:
        self.first, self.outer = nn.Linear(self.dimension, self.hidden), nn.Linear(self.hidden, 1)

    def forward(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        queries, keys = (wide(one_tensor(side, "learned_weights")) for side in (pairs.queries, pairs.keys))
        for vectors in (queries, keys):
            of_length("learned_weights", "dimension", vectors, self.dimension)
        with torch.autocast(queries.device.type, enabled=False):
            outer = torch.cat([self.outer.weight[0], self.outer.bias]).expand(len(queries), -1)
            rows = (self.first(queries), outer)
            cols = nn.functional.linear(keys, self.first.weight)
        channel = Channel(rows, cols, _Gate())
        return self.loss(replace(pairs, channels={**pairs.channels, "learned": channel}, weighing=(*pairs.weighing, "learned")))


@dataclass(frozen=True)
class _Gate:
    """log sigmoid of the outer layer, which comes along with every row."""

    def factors(self, queries: Vectors, keys: Vectors) -> Factors:
        assert isinstance(queries, tuple)
        return Factors((), queries, (leading(keys),))

    def tile(self, products: tuple[torch.Tensor, ...], rows: tuple[torch.Tensor, ...], cols: tuple[torch.Tensor, ...]) -> torch.Tensor:
        hidden, outer = torch.tanh(rows[0][:, None] + cols[0][None]), rows[1]
        return logsigmoid((hidden * outer[:, None, :-1]).sum(-1) + outer[:, -1:])
