"""Gated cosine: s(q, k) = cos(g * q, g * k), the row's gate g applied to both sides.

    numerator (g^2 q) . k,   |g k|^2 = (g^2) . (k^2)     two matrix products and one rank-one term, no N x M x d tensor

Queries are a pair (vectors (N, d), gates (N, d)), gates at least 0. Source: the class-pair gates of arXiv:2410.13200.
"""

from __future__ import annotations

import torch

from dipole.core.errors import DataError
from dipole.core.part import part, positive
from dipole.core.scores import Factors
from dipole.core.vectors import Vectors, one_tensor, wide

__all__ = ["GatedCosine"]


@part
class GatedCosine:
    """Cosine in the subspace the row's gate selects."""

    floor: float = positive(1e-12, "smallest squared length a gated vector is taken to have")

    def factors(self, queries: Vectors, keys: Vectors) -> Factors:
        if isinstance(queries, torch.Tensor) or len(queries) != 2:
            raise DataError("score gated_cosine: queries must be (vectors (N, d), gates (N, d))")
        vectors, gates = queries
        right = one_tensor(keys, "gated_cosine")
        squared = gates.square()
        length = wide(gates * vectors).square().sum(1).clamp(min=self.floor).rsqrt()
        return Factors(((squared * vectors, right), (squared, right.square())), (length,), ())

    def tile(self, products: tuple[torch.Tensor, ...], rows: tuple[torch.Tensor, ...], cols: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return products[0] * rows[0][:, None] * products[1].clamp(min=self.floor).rsqrt()
