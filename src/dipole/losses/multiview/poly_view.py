"""Poly-view, geometric: each pair of views in its own softmax against the other items; the mean is outside the logarithm.

    l_i = mean_{a, b != a} -log  f_ab / (f_ab + sum_{j != i} sum_c f(x_ia, x_jc)),   f = e^{s / t},  f_ab = f(x_ia, x_ib)

One value per item, nats. The item's further views are in no denominator.

Shapes: N items of V views, pairs from ``stacked``. Source: arXiv:2403.05490, the geometric poly-view loss.
Relation: NT-Xent for V = 2; poly_view_arithmetic takes the mean inside the logarithm and is never larger; SupCon with each item as a
class puts the item's further views into the denominator.
Errors: DegenerateBatchError on a single item; DataError unless the pairs are stacked.

>>> import torch
>>> from dipole.core.stacked import stacked
>>> PolyView(temperature=1.0)(stacked(torch.eye(4).reshape(2, 2, 4)))
tensor([1.0986, 1.0986])
"""

from __future__ import annotations

import torch
from torch.nn.functional import softplus

from dipole.core.pairs import Pairs
from dipole.core.part import part, positive
from dipole.core.stacked import each_view, view_scores, views_of
from dipole.pairwise import Tile, logsumexp_rows

__all__ = ["PolyView"]


@part
class PolyView:
    """One softmax for each pair of views, averaged, in nats per item."""

    temperature: float = positive(0.1, "scores are divided by it")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        ratios = self.log_ratios(pairs)
        views = ratios.shape[1]
        return -ratios.masked_fill(torch.eye(views, dtype=torch.bool, device=ratios.device), 0.0).sum((1, 2)) / (views * (views - 1))

    def log_ratios(self, pairs: Pairs) -> torch.Tensor:
        """(n, V, V) for the own items: log of each pair's share f_ab / (f_ab + the other items' sum); the diagonal means nothing."""
        pairs.require_negatives("PolyView")
        views = views_of(pairs, "PolyView").shape[1]

        def others(tile: Tile) -> torch.Tensor:
            return tile.fill_positive(tile.scores / self.temperature, -torch.inf)

        repelled = logsumexp_rows(others, each_view(pairs)).reshape(-1, views, 1)
        return -softplus(repelled - view_scores(pairs) / self.temperature)
