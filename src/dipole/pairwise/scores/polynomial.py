"""Polynomial kernel: s(q, k) = (q . k + shift)^degree."""

from __future__ import annotations

import torch

from dipole.core.part import at_least, part, real
from dipole.core.scores import Factors
from dipole.core.vectors import Vectors, one_tensor

__all__ = ["Polynomial"]


@part
class Polynomial:
    """(q . k + shift)^degree, degree a whole number so that negative bases are defined."""

    degree: int = at_least(1, 2, "the exponent")
    shift: float = real(1.0, "added to the dot product")

    def factors(self, queries: Vectors, keys: Vectors) -> Factors:
        return Factors(((one_tensor(queries, "polynomial"), one_tensor(keys, "polynomial")),))

    def tile(self, products: tuple[torch.Tensor, ...], rows: tuple[torch.Tensor, ...], cols: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return (products[0] + self.shift).pow(self.degree)
