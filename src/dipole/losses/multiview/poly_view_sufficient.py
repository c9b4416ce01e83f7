"""Poly-view, sufficient statistics: the mean of the item's other views asks for the view left out.

    l_i = mean_a -log  f(m_ia, x_ia) / (f(m_ia, x_ia) + sum_{j != i} sum_c f(m_ia, x_jc)),   m_ia = mean_{b != a} x_ib,  f = e^{s / t}

One value per item, nats.

Shapes: N items of V views, pairs from ``stacked``. Source: arXiv:2403.05490, the sufficient-statistics loss. Whether the mean is
normalised again is the score's business: cosine does, dot does not; the paper leaves it open.
Relation: NT-Xent for V = 2; an ordinary softmax with one positive a row, whose query is a mean.
Errors: DegenerateBatchError on a single item; DataError unless the pairs are stacked.

>>> import torch
>>> from dipole.core.stacked import stacked
>>> PolyViewSufficient(temperature=1.0)(stacked(torch.eye(4).reshape(2, 2, 4)))
tensor([1.0986, 1.0986])
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn.functional import softplus

from dipole.core.pairs import Pairs
from dipole.core.part import part, positive
from dipole.core.relations import Match
from dipole.core.scores import scores_of_pairs
from dipole.core.stacked import each_view, views_of
from dipole.core.vectors import wide
from dipole.pairwise import Tile, logsumexp_rows

__all__ = ["PolyViewSufficient"]


@part
class PolyViewSufficient:
    """Leave-one-out means as queries, in nats per item."""

    temperature: float = positive(0.1, "scores are divided by it")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        pairs.require_negatives("PolyViewSufficient")
        views = wide(views_of(pairs, "PolyViewSufficient"))
        means = (views.sum(1, keepdim=True) - views) / (views.shape[1] - 1)
        each = each_view(pairs)
        own = slice(0, len(views)) if pairs.local is None else pairs.own_rows

        def others(tile: Tile) -> torch.Tensor:
            return tile.fill_positive(tile.scores / self.temperature, -torch.inf)

        same = Match(each.rows["item"], each.cols["item"])
        repelled = logsumexp_rows(others, replace(each, queries=means.flatten(0, 1), positive=same, excluded=()))
        attracted = scores_of_pairs(pairs.score, means[own].flatten(0, 1), views[own].flatten(0, 1))
        return softplus(repelled - attracted / self.temperature).reshape(-1, views.shape[1]).mean(1)
