"""Linear contrast: the positive's score against the mean of the negatives', with no normaliser.

    l_i = -s_ii + w mean_{j not positive} s_ij                            one value per query

Shapes: N queries, M >= N keys, aligned. Source: the simple contrastive loss of arXiv:2012.09740, section 3.2.
Relation: what InfoNCE times its temperature, less t log(M), tends to as the temperature grows, times M / (M - 1): every negative is
pushed alike, however near. ``hardest_only`` around it gives it back an eye for hard ones.
Errors: DegenerateBatchError on a single key; DataError unless the pairs are aligned.

>>> import torch
>>> from dipole import Pairs
>>> LinearContrast()(Pairs.aligned(torch.eye(3), torch.eye(3)))
tensor([-1., -1., -1.])
"""

from __future__ import annotations

import torch

from dipole.core.pairs import Pairs
from dipole.core.part import at_least, part
from dipole.pairwise import Count, Sum, Tile, reduce

__all__ = ["LinearContrast"]


@part
class LinearContrast:
    """Attraction of the pair, mean score of the negatives."""

    spread_weight: float = at_least(0, 1.0, "w")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        pairs.require_negatives("LinearContrast")

        def terms(tile: Tile) -> dict[str, torch.Tensor]:
            negative = torch.ones_like(tile.scores) if tile.positive_or_none is None else (~tile.positive).to(tile.scores.dtype)
            return {"scores": tile.fill_positive(tile.scores, 0.0), "negative": negative}

        found = reduce(terms, pairs, scores=Sum("rows", of="scores"), number=Count("rows", of="negative"))
        spread: torch.Tensor = found.scores / found.number.clamp(min=1)
        return self.spread_weight * spread - pairs.positive_scores()
