"""Kernel mixture: s(q, k) = log sum_m w_m exp(-|q - k|^p_m / t), the logarithm of a sum of exponential kernels.

So a softmax over it at temperature 1 normalises the sum of kernels itself: p = 2 is the Gaussian kernel, p = 1 the Laplacian one.
Source: the simple sum of kernels of arXiv:2303.15103, section 5; its code mixes losses of single kernels instead, which a recipe
writes as two losses with ``distance_power``. Below a distance of 1e-6 the gradient is 0 instead of unbounded.
Errors: ParameterError for as many weights as there are no powers.
"""

from __future__ import annotations

import math

import torch

from dipole.core.errors import ParameterError
from dipole.core.part import numbers, part, positive
from dipole.core.scores import Factors
from dipole.core.vectors import Vectors
from dipole.pairwise.scores.neg_squared_distance import NegSquaredDistance

__all__ = ["KernelMixture"]


@part
class KernelMixture:
    """log sum_m w_m exp(-|q - k|^p_m / t)."""

    powers: tuple[float, ...] = numbers((1.0, 2.0), "p_m, of the Euclidean distance")
    shares: tuple[float, ...] = numbers((0.5, 0.5), "w_m, one a power")
    temperature: float = positive(0.1, "t, of every kernel")

    def __post_init__(self) -> None:
        if len(self.powers) != len(self.shares) or not self.powers:
            raise ParameterError("kernel_mixture", "shares", f"one a power, {len(self.powers)} numbers", self.shares)

    def factors(self, queries: Vectors, keys: Vectors) -> Factors:
        return NegSquaredDistance().factors(queries, keys)

    def tile(self, products: tuple[torch.Tensor, ...], rows: tuple[torch.Tensor, ...], cols: tuple[torch.Tensor, ...]) -> torch.Tensor:
        squared = (-NegSquaredDistance().tile(products, rows, cols)).clamp(min=1e-12)
        total = None
        for power, share in zip(self.powers, self.shares, strict=True):
            kernel = math.log(share) - squared.pow(power / 2) / self.temperature
            total = kernel if total is None else torch.logaddexp(total, kernel)
        assert total is not None
        return total
