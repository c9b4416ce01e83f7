"""MV-InfoNCE: one term an item; the logarithm is taken after the views were summed, of attraction and of repulsion alike.

    l_i = -log  sum_{a != b} e^{s(x_ia, x_ib) / t}  /  sum_a sum_{(j,b) != (i,a)} e^{s(x_ia, x_jb) / t}       one value per item, nats

The lower sum runs over everything in the batch but the view itself: other views of the item, and the anchor's own view of others.

Shapes: N items of V views, pairs from ``stacked``. Source: arXiv:2507.06979 as its authors' code has it; the formula of their README
leaves the anchor's own view out of the lower sum.
Relation: for V = 2 it is -s(x_i1, x_i2) / t + log((D_i1 + D_i2) / 2), D_ia the lower sum of one view, and never below NT-Xent, which takes
the mean of the two logarithms; mv_dhel separates the sums.
Errors: DegenerateBatchError on a single item; DataError unless the pairs are stacked.

>>> import torch
>>> from dipole.core.stacked import stacked
>>> MVInfoNCE(temperature=1.0)(stacked(torch.eye(4).reshape(2, 2, 4)))
tensor([1.0986, 1.0986])
"""

from __future__ import annotations

import torch

from dipole.core.pairs import Pairs
from dipole.core.part import part, positive
from dipole.core.stacked import each_view, view_scores, views_of
from dipole.pairwise import Tile, logsumexp_rows

__all__ = ["MVInfoNCE"]


@part
class MVInfoNCE:
    """All views of an item in one softmax, in nats per item."""

    temperature: float = positive(0.5, "scores are divided by it; 0.5 for CIFAR, 0.1 for ImageNet in the paper")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        pairs.require_negatives("MVInfoNCE")
        views = views_of(pairs, "MVInfoNCE").shape[1]

        def logits(tile: Tile) -> torch.Tensor:
            return tile.scores / self.temperature

        repelled = logsumexp_rows(logits, each_view(pairs)).reshape(-1, views).logsumexp(1)
        itself = torch.eye(views, dtype=torch.bool, device=repelled.device)
        attracted = (view_scores(pairs) / self.temperature).masked_fill(itself, -torch.inf)
        return repelled - attracted.flatten(1).logsumexp(1)
