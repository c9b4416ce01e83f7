"""Cosine: s(q, k) = q . k / (|q| |k|). A zero vector scores 0 with everything."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from dipole.core.part import part
from dipole.core.scores import Factors
from dipole.core.vectors import Vectors, one_tensor, wide

__all__ = ["Cosine"]


@part
class Cosine:
    """The dot product of normalised vectors; gradients are orthogonal to each vector."""

    def factors(self, queries: Vectors, keys: Vectors) -> Factors:
        return Factors(((unit(one_tensor(queries, "cosine")), unit(one_tensor(keys, "cosine"))),))

    def tile(self, products: tuple[torch.Tensor, ...], rows: tuple[torch.Tensor, ...], cols: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return products[0]


def unit(vectors: torch.Tensor) -> torch.Tensor:
    """Rows of length 1, computed in float32 or better, returned in the input's type."""
    return normalize(wide(vectors), dim=-1).to(vectors.dtype)
