"""Both views: every item asks, against all items of both sides but itself; NT-Xent where the loss inside is InfoNCE.

    l_i = (l(a_i; b_i among all) + l(b_i; a_i among all)) / 2      one value per query, in the unit of the loss inside

Shapes: N aligned pairs (a_i, b_i) in one space; each of the 2N items has 2N - 1 candidates, further columns besides.
Source: arXiv:2002.05709, eq. 1. In Python also ``loss(pairs.both_views())``, with one value an item.
Relation: InfoNCE without it has N candidates, and only the a_i ask. DCL, MACL and others go inside in the same way.
Errors: DataError unless row i's positive is column i and both sides have vectors of one shape.

>>> import torch
>>> from dipole import Pairs
>>> from dipole.losses import InfoNCE
>>> BothViews(InfoNCE(temperature=1.0))(Pairs.aligned(torch.ones(4, 2), torch.ones(4, 2))).exp().round()
tensor([7., 7., 7., 7.])
"""

from __future__ import annotations

import torch
from torch import nn

from dipole.core.pairs import Pairs
from dipole.core.part import inner, part
from dipole.core.protocols import PairLoss
from dipole.losses.softmax.infonce import InfoNCE

__all__ = ["BothViews"]


@part
class BothViews(nn.Module):
    """The loss inside, of every item of both sides, averaged over the two items of a pair."""

    loss: PairLoss = inner("losses", InfoNCE, "the loss of the 2N items")

    def forward(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        return self.loss(pairs.both_views()).reshape(-1, 2).mean(1)
