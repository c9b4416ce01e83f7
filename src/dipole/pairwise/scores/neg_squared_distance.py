"""Negative squared distance: s(q, k) = -|q - k|^2 = 2 q . k - |q|^2 - |k|^2, one matrix product and two rank-one terms."""

from __future__ import annotations

import torch

from dipole.core.part import part
from dipole.core.scores import Factors
from dipole.core.vectors import Vectors, one_tensor, wide

__all__ = ["NegSquaredDistance"]


@part
class NegSquaredDistance:
    """-|q - k|^2."""

    def factors(self, queries: Vectors, keys: Vectors) -> Factors:
        left, right = one_tensor(queries, "neg_squared_distance"), one_tensor(keys, "neg_squared_distance")
        return Factors(((left, right),), (wide(left).square().sum(1),), (wide(right).square().sum(1),))

    def tile(self, products: tuple[torch.Tensor, ...], rows: tuple[torch.Tensor, ...], cols: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return torch.add(-rows[0][:, None], products[0], alpha=2.0).sub_(cols[0][None, :])
