"""Hardest hinge: the row's best negative must score lower than its positive by a margin.

    l_i = max(0, m - s_ii + max_{j != i} s_ij)                      one value per query, in units of the score

Two-sided: plus the same with keys asking for queries. The gradient reaches the positive and one negative a row.

Shapes: N queries, M >= N keys, aligned; hard negatives are further columns. Source: arXiv:1707.05612, eq. 6 (two-sided);
arXiv:2203.06875, the energy-based hinge on cosines (one side, margin 0.2, weight 10 beside InfoNCE). As the contrastive hinge of
arXiv:1902.09229 it is max(0, 1 + max_j(-v_j)) with v_j = s_ii - s_ij.
Relation: hinge sums over all negatives; semi_hard_triplet looks only at negatives the row already ranks below its positive.
Errors: DegenerateBatchError on a single key; DataError unless the pairs are aligned.

>>> import torch
>>> from dipole import Pairs
>>> HardestHinge(margin=1.5)(Pairs.aligned(torch.eye(3), torch.eye(3)))
tensor([0.5000, 0.5000, 0.5000])
"""

from __future__ import annotations

import torch

from dipole.core.pairs import Pairs
from dipole.core.part import part, positive, switch
from dipole.pairwise import Max, Tile, max_rows, reduce

__all__ = ["HardestHinge"]


@part
class HardestHinge:
    """Violated margin of the hardest negative."""

    margin: float = positive(0.2, "by how much the positive must win")
    two_sided: bool = switch(False, "add the same loss in which keys ask for queries")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        pairs.require_negatives("HardestHinge")
        positives = pairs.positive_scores()

        def negatives(tile: Tile) -> torch.Tensor:
            return tile.fill_positive(tile.scores, -torch.inf)

        if not self.two_sided:
            return (self.margin - positives + max_rows(negatives, pairs)).relu()
        hardest = reduce(negatives, pairs, rows=Max("rows"), cols=Max("cols"))
        both: torch.Tensor = (self.margin - positives + hardest.rows).relu()
        return both + (self.margin - positives + pairs.at_positive(hardest.cols)).relu()
