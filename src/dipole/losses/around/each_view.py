"""Each view: a loss for two sides on items of several views: every view asks, and the item's other views answer.

    l_i = mean over the item's views a of l(x_ia; positives x_ib, b != a, among all views of all items but itself)     one value per item

Shapes: N items of V views, pairs from ``stacked``; the unit is that of the loss inside. Relation: with SupCon inside it is NT-Xent over all
views, each item its own class (arXiv:2507.06979 compares itself with it); with two views and InfoNCE's kin it is both_views. Losses
that need one positive a row go inside for two views only.
Errors: DataError unless the pairs are stacked, and what the loss inside raises.

>>> import torch
>>> from dipole.core.stacked import stacked
>>> from dipole.losses import SupCon
>>> EachView(SupCon(temperature=1.0))(stacked(torch.ones(2, 3, 4))).exp().round()
tensor([5., 5.])
"""

from __future__ import annotations

import torch
from torch import nn

from dipole.core.pairs import Pairs
from dipole.core.part import inner, part
from dipole.core.protocols import PairLoss
from dipole.core.stacked import each_view, views_of
from dipole.losses.softmax.supcon import SupCon

__all__ = ["EachView"]


@part
class EachView(nn.Module):
    """The loss inside, of every view, averaged over the views of an item."""

    loss: PairLoss = inner("losses", SupCon, "the loss of the N V views")

    def forward(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        views = views_of(pairs, "EachView").shape[1]
        return self.loss(each_view(pairs)).reshape(-1, views).mean(1)
