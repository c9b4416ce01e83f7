"""Propensity: negatives that were likely to be drawn count less.

    w_j = 1 / p_j      multiplies exp(s_ij / t) of every negative in the normaliser of the loss inside

Shapes: ``by`` names a probability of each column, (M,), above 0 and up to 1; positives weigh 1. One value per query, in the unit
of the loss inside, which must be one with a softmax normaliser.
Source: the correction of sampled softmax, arXiv:1412.2007, also known as the logQ correction, here with the positive uncorrected.
Relation: equal propensities add the same to every negative. Graded weighs rows, by relevance or by 1 / p of their positive.
Errors: DataError where columns lack the number, or it is no probability.

>>> import torch
>>> from dataclasses import replace
>>> from dipole import Pairs
>>> from dipole.losses import InfoNCE
>>> pairs = replace(Pairs.aligned(torch.ones(2, 2), torch.ones(2, 2)), cols={"p": torch.tensor([0.5, 0.1])})
>>> Propensity(InfoNCE(temperature=1.0), by="p")(pairs).exp().round()
tensor([11.,  3.])
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from dipole.core.errors import DataError
from dipole.core.pairs import Pairs
from dipole.core.part import inner, part, words
from dipole.core.protocols import PairLoss
from dipole.core.requirements import metadata
from dipole.core.scores import Channel, Factors
from dipole.core.vectors import Vectors, leading
from dipole.losses.softmax.infonce import InfoNCE

__all__ = ["Propensity"]


@part
class Propensity(nn.Module):
    """The loss inside, with negatives weighted by the inverse of their propensity."""

    loss: PairLoss = inner("losses", InfoNCE, "a loss with a softmax normaliser")
    by: str = words("propensity", "the probability of each column to be drawn")

    def forward(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        known = metadata("propensity", self.by, pairs.cols)
        if not bool(((known > 0) & (known <= 1)).all()):
            bad = known[~((known > 0) & (known <= 1))]
            raise DataError("propensity: probabilities must be above 0 and up to 1", column=self.by, value=float(bad[0]))
        held = known if pairs.ring is None else known[pairs.own_cols]
        channel = Channel(leading(pairs.queries).new_zeros(len(leading(pairs.queries))), -held.log(), _OfColumn())
        return self.loss(replace(pairs, channels={**pairs.channels, "propensity": channel}, weighing=(*pairs.weighing, "propensity")))


@dataclass(frozen=True)
class _OfColumn:
    """A score that is a number of the column."""

    def factors(self, queries: Vectors, keys: Vectors) -> Factors:
        return Factors((), (leading(queries),), (leading(keys),))

    def tile(self, products: tuple[torch.Tensor, ...], rows: tuple[torch.Tensor, ...], cols: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return rows[0][:, None] + cols[0][None, :]
