"""Hinge: every negative must score lower than the row's positive by a margin; what is missing is summed.

    l_i = sum_{j != i} max(0, m - s_ii + s_ij)                      one value per query, in units of the score

Two-sided: plus the same with keys asking for queries, sum_{j != i} max(0, m - s_ii + s_ji).

Shapes: N queries, M >= N keys, aligned. Source: arXiv:1412.2306, eq. 9 (two-sided, m = 1); with cosines and sampled negatives
it is the word model of arXiv:2306.08221.
Relation: hardest_hinge keeps the worst negative of the sum; pairwise_logistic rounds the corner. A triplet loss is a hinge with
the score neg_squared_distance.
Errors: DegenerateBatchError on a single key; DataError unless the pairs are aligned.

>>> import torch
>>> from dipole import Pairs
>>> Hinge(margin=1.5)(Pairs.aligned(torch.eye(3), torch.eye(3)))
tensor([1., 1., 1.])
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dipole.core.noting import note_positive_scores
from dipole.core.pairs import Pairs
from dipole.core.part import part, positive, switch
from dipole.pairwise import Sum, Tile, reduce

__all__ = ["Hinge"]


@part
class Hinge:
    """Sum of violated margins over a row's negatives."""

    margin: float = positive(1.0, "by how much the positive must win")
    two_sided: bool = switch(False, "add the same loss in which keys ask for queries")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        pairs.require_negatives("Hinge")

        def missing(tile: Tile) -> Mapping[str, torch.Tensor]:
            sides = {"rows": tile.rows["positive_score"], "cols": tile.cols["positive_score"]}
            return {side: tile.fill_positive((self.margin - best + tile.scores).relu(), 0.0) for side, best in sides.items()}

        noted = note_positive_scores(pairs)
        if not self.two_sided:
            one: torch.Tensor = reduce(missing, noted, rows=Sum("rows", of="rows")).rows
            return one
        both = reduce(missing, noted, rows=Sum("rows", of="rows"), cols=Sum("cols", of="cols"))
        total: torch.Tensor = both.rows + pairs.at_positive(both.cols)
        return total
