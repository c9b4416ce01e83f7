"""A row's best negatives: exact, streamed, without gradient."""

from __future__ import annotations

from dataclasses import replace

import torch

from dipole.core.pairs import Pairs
from dipole.core.vectors import Vectors
from dipole.pairwise import Tile, Top, TopK, reduce


@torch.no_grad()
def negatives_by_score(pairs: Pairs, k: int, below: float | None = None) -> Top:
    """The ``k`` highest-scoring negatives each row sees, best first: ``values`` and ``ids`` (N, k), -1 where there are fewer.

    ``below``: no score above it counts.
    """

    def negative(tile: Tile) -> torch.Tensor:
        scores = tile.fill_positive(tile.scores, -torch.inf)
        return scores if below is None else scores.masked_fill(scores > below, -torch.inf)

    top: Top = reduce(negative, still(pairs), it=TopK("rows", k=k)).it
    return top


def still(pairs: Pairs) -> Pairs:
    """The pairs with vectors that carry no gradient."""
    return replace(pairs, queries=_still(pairs.queries), keys=_still(pairs.keys))


def _still(vectors: Vectors) -> Vectors:
    return vectors.detach() if isinstance(vectors, torch.Tensor) else tuple(v.detach() for v in vectors)
