"""Bilinear: s(q, k) = q' W k with a learned W, started as the identity."""

from __future__ import annotations

import torch
from torch import nn

from dipole.core.part import at_least, part
from dipole.core.scores import Factors
from dipole.core.vectors import Vectors, one_tensor

__all__ = ["Bilinear"]


@part
class Bilinear(nn.Module):
    """q' W k; W is (query_dim, key_dim)."""

    query_dim: int = at_least(1, about="dimensions of a query")
    key_dim: int = at_least(1, about="dimensions of a key")

    def __post_init__(self) -> None:
        self.weight = nn.Parameter(torch.eye(self.query_dim, self.key_dim))

    def factors(self, queries: Vectors, keys: Vectors) -> Factors:
        left = one_tensor(queries, "bilinear")
        return Factors(((left @ self.weight.to(left.dtype), one_tensor(keys, "bilinear")),))

    def tile(self, products: tuple[torch.Tensor, ...], rows: tuple[torch.Tensor, ...], cols: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return products[0]
