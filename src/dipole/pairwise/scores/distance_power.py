"""Distance to a power: s(q, k) = -|q - k|^power; power 1 is the Laplacian exponent, 2 the Gaussian one.

Source: the kernels of arXiv:2303.15103 for p = 2. Below a distance of 1e-6 the gradient is 0 instead of unbounded.
"""

from __future__ import annotations

import torch

from dipole.core.part import part, positive
from dipole.core.scores import Factors
from dipole.core.vectors import Vectors
from dipole.pairwise.scores.neg_squared_distance import NegSquaredDistance

__all__ = ["DistancePower"]


@part
class DistancePower:
    """-|q - k|^power."""

    power: float = positive(1.0, "of the Euclidean distance")

    def factors(self, queries: Vectors, keys: Vectors) -> Factors:
        return NegSquaredDistance().factors(queries, keys)

    def tile(self, products: tuple[torch.Tensor, ...], rows: tuple[torch.Tensor, ...], cols: tuple[torch.Tensor, ...]) -> torch.Tensor:
        squared = -NegSquaredDistance().tile(products, rows, cols)
        return -squared.clamp(min=1e-12).pow(self.power / 2)
