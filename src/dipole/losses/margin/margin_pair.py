"""Margin pair: positives are drawn together, negatives pushed apart until a margin; each pair by its own distance.

    l_i = mean_j  y_ij d_ij^2 + (1 - y_ij) max(0, m - d_ij)^2,   d_ij = |q_i - k_j|      one value per query, squared units

Shapes: N queries, M keys, any number of positives a row; the mean is over the candidates that count. The distance is Euclidean,
whatever the score of the pairs. Source: Hadsell, Chopra, LeCun, CVPR 2006, eq. 4 (there with a factor 1/2); the pair loss of
arXiv:2010.05113.
Relation: no other candidate matters to a pair, as in siglip; hinge compares two candidates of one row.
A pair of equal vectors has distance 1e-6 and no gradient.
Errors: DegenerateBatchError on a single key.

>>> import torch
>>> from dipole import Pairs
>>> MarginPair(margin=2.0)(Pairs.aligned(torch.eye(2), torch.eye(2)))
tensor([0.1716, 0.1716])
"""

from __future__ import annotations

from dataclasses import replace

import torch

from dipole.core.pairs import Pairs
from dipole.core.part import part, positive
from dipole.pairwise import Tile, mean_rows
from dipole.pairwise.scores.distance_power import DistancePower

__all__ = ["MarginPair"]


@part
class MarginPair:
    """Squared distance of positives, squared violated margin of negatives."""

    margin: float = positive(1.0, "negatives farther than this are left alone")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        pairs.require_negatives("MarginPair")

        def energy(tile: Tile) -> torch.Tensor:
            apart = (self.margin + tile.scores).relu().square()
            match = tile.positive_or_none
            return apart if match is None else torch.where(match, tile.scores.square(), apart)

        return mean_rows(energy, replace(pairs, score=DistancePower(power=1.0)))
