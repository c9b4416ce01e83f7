"""Scaled cosine: s(q, k) = cos(q, k) / t with a learned, bounded temperature t.

The temperature is part of the model (saved with it, kept on resume), so any loss can be used with a learned temperature
by giving it ``temperature = 1``. Learned as log(1 / t), as in arXiv:2103.00020, sec. 2.5, which starts at 0.07 and keeps
1 / t at most 100.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from dipole.core.errors import ParameterError
from dipole.core.part import part, positive
from dipole.core.scores import Factors
from dipole.core.vectors import Vectors, one_tensor
from dipole.pairwise.scores.cosine import unit

__all__ = ["ScaledCosine"]


@part
class ScaledCosine(nn.Module):
    """Cosine over a learned temperature."""

    initial_temperature: float = positive(0.07, "where the learned temperature starts")
    min_temperature: float = positive(0.01, "the learned temperature never goes below")

    def __post_init__(self) -> None:
        if self.initial_temperature < self.min_temperature:
            raise ParameterError(
                "scaled_cosine", "initial_temperature", f"at least min_temperature, {self.min_temperature}", self.initial_temperature
            )
        self.log_scale = nn.Parameter(torch.tensor(-math.log(self.initial_temperature)))

    @property
    def temperature(self) -> torch.Tensor:
        """The temperature now, a scalar that carries its gradient, also at its bound: so that it can come back."""
        return bounded_temperature(self.log_scale, self.min_temperature)

    def factors(self, queries: Vectors, keys: Vectors) -> Factors:
        left = unit(one_tensor(queries, "scaled_cosine"))
        return Factors((((left / self.temperature).to(left.dtype), unit(one_tensor(keys, "scaled_cosine"))),))

    def tile(self, products: tuple[torch.Tensor, ...], rows: tuple[torch.Tensor, ...], cols: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return products[0]


def bounded_temperature(log_scale: torch.Tensor, least: float) -> torch.Tensor:
    """exp(-log_scale), at least ``least``; the gradient passes at the bound too, so that the temperature can come back."""
    bounded = log_scale.clamp(max=-math.log(least))
    return (-(log_scale + (bounded - log_scale).detach())).exp()
