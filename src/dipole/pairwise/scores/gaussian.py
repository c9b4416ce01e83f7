"""Gaussian kernel: s(q, k) = exp(-sharpness |q - k|^2), between 0 and 1."""

from __future__ import annotations

import torch

from dipole.core.part import part, positive
from dipole.core.scores import Factors
from dipole.core.vectors import Vectors
from dipole.pairwise.scores.neg_squared_distance import NegSquaredDistance

__all__ = ["Gaussian"]


@part
class Gaussian:
    """exp(-sharpness |q - k|^2)."""

    sharpness: float = positive(2.0, "1 / (2 sigma^2)")

    def factors(self, queries: Vectors, keys: Vectors) -> Factors:
        return NegSquaredDistance().factors(queries, keys)

    def tile(self, products: tuple[torch.Tensor, ...], rows: tuple[torch.Tensor, ...], cols: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return (NegSquaredDistance().tile(products, rows, cols) * self.sharpness).exp()
