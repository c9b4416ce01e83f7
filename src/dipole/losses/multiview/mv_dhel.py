"""MV-DHEL: one term an item; views attract each other, and each view is repelled by the same view of other items alone.

    l_i = -log sum_{a < b} e^{s(x_ia, x_ib) / t} + sum_a log sum_{j != i} e^{s(x_ia, x_ja) / t}         one value per item, nats

Shapes: N items of V views, pairs from ``stacked``. Source: arXiv:2507.06979 as its authors' code has it; the formula of their README
counts every pair of views twice (a constant) and j = i below.
Relation: for V = 2 the decoupled two-view loss of the same authors. Attraction and repulsion share no entry; no view of another
kind repels, so V tables of N x N are read where mv_infonce reads one of NV x NV.
Errors: DegenerateBatchError on a single item; DataError unless the pairs are stacked.

>>> import torch
>>> from dipole.core.stacked import stacked
>>> MVDHEL(temperature=1.0)(stacked(torch.eye(4).reshape(2, 2, 4)))
tensor([0., 0.])
"""

from __future__ import annotations

import torch

from dipole.core.errors import DegenerateBatchError
from dipole.core.pairs import Pairs
from dipole.core.part import part, positive
from dipole.core.stacked import one_view, view_scores, views_of
from dipole.pairwise import Tile, logsumexp_rows

__all__ = ["MVDHEL"]


@part
class MVDHEL:
    """Alignment of all views, uniformity within each, in nats per item."""

    temperature: float = positive(0.5, "scores are divided by it; 0.5 for CIFAR, 0.1 for ImageNet in the paper")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        pairs.require_negatives("MVDHEL")
        views = views_of(pairs, "MVDHEL").shape[1]

        def logits(tile: Tile) -> torch.Tensor:
            return tile.scores / self.temperature

        repelled = torch.stack([logsumexp_rows(logits, one_view(pairs, view)) for view in range(views)], dim=1)
        if bool((repelled == -torch.inf).any()):
            raise DegenerateBatchError("MVDHEL: some items have no other item that counts", remedy="raise batch_size, or drop copies")
        once = torch.ones(views, views, dtype=torch.bool, device=repelled.device).triu(1)
        attracted = (view_scores(pairs) / self.temperature).masked_fill(~once, -torch.inf)
        return repelled.sum(1) - attracted.flatten(1).logsumexp(1)
