"""What the token scores share: both sides as (tokens, mask), and the scores of all token pairs of a tile."""

from __future__ import annotations

import torch

from dipole.core.errors import DataError
from dipole.core.scores import Factors
from dipole.core.vectors import Vectors

__all__: list[str] = []


def token_factors(queries: Vectors, keys: Vectors, score: str) -> Factors:
    """Tokens and masks, cut along both axes; nothing is a plain matrix product."""
    for side, vectors in (("queries", queries), ("keys", keys)):
        if isinstance(vectors, torch.Tensor) or len(vectors) != 2 or vectors[0].dim() != 3 or vectors[1].dtype != torch.bool:
            raise DataError(f"score {score}: {side} must be (tokens (N, L, d), mask (N, L) bool)")
    return Factors((), tuple(queries), tuple(keys))


def token_products(rows: tuple[torch.Tensor, ...], cols: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(n, m, L, K) dot products; (n, 1, L, 1) mask of query tokens; (1, m, 1, K) mask of key tokens."""
    scores = torch.einsum("nad,mbd->nmab", rows[0], cols[0])
    return scores, rows[1][:, None, :, None], cols[1][None, :, None, :]
