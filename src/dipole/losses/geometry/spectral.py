"""Spectral: chi-square in the place of InfoNCE's KL; squares instead of a logarithm of a sum.

    l_i = -2 s_ii + w mean_{j not positive} s_ij^2                    one value per query

Shapes: N queries, M >= N keys, aligned; scores are those of the pairs, the paper's is the dot product of vectors that are not
normalised. Source: arXiv:2106.04156, eq. 6; arXiv:2503.17538 takes it as the chi-square member of its family of f-divergences.
Values: with w = 1 the minimiser is the density ratio s = p(q, k) / p(q) p(k), and its value -(1 + chi^2(p(q, k), p(q) p(k))).
Relation: InfoNCE is the same with KL, whose minimiser is the logarithm of that ratio. Nothing is normalised per row, so a batch
gives an unbiased gradient.
Errors: DegenerateBatchError on a single key; DataError unless the pairs are aligned.

>>> import torch
>>> from dipole import Pairs
>>> Spectral()(Pairs.aligned(torch.eye(3), torch.ones(3, 3)))
tensor([-1., -1., -1.])
"""

from __future__ import annotations

import torch

from dipole.core.pairs import Pairs
from dipole.core.part import at_least, part
from dipole.pairwise import Count, Sum, Tile, reduce

__all__ = ["Spectral"]


@part
class Spectral:
    """Attraction of the pair, squared scores of the negatives."""

    spread_weight: float = at_least(0, 1.0, "w, weight of the squares; 1 in the paper")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        pairs.require_negatives("Spectral")

        def terms(tile: Tile) -> dict[str, torch.Tensor]:
            counted = torch.ones_like(tile.scores, dtype=torch.bool)
            match = tile.positive_or_none
            return {"squares": tile.fill_positive(tile.scores.square(), 0.0), "negative": counted if match is None else ~match}

        found = reduce(terms, pairs, squares=Sum("rows", of="squares"), number=Count("rows", of="negative"))
        spread: torch.Tensor = found.squares / found.number.clamp(min=1)
        return self.spread_weight * spread - 2 * pairs.positive_scores()
