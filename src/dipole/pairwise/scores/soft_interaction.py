"""Softmax interaction: each query token takes a softmax-weighted mean of its scores with the key's tokens.

    s(q, k) = 1/|q| sum_a sum_b softmax_b(q_a . k_b / t) q_a . k_b        over the tokens the masks keep

Both sides are (tokens (N, L, d), mask (N, L) bool). The smooth neighbour of MaxSim: t -> 0 gives its mean form.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from dipole.core.part import part, positive
from dipole.core.scores import Factors
from dipole.core.vectors import Vectors
from dipole.pairwise.scores.tokens import token_factors, token_products

__all__ = ["SoftInteraction"]


@part
class SoftInteraction:
    """Late interaction by attention."""

    temperature: float = positive(0.1, "of the softmax over the key's tokens")

    reads: ClassVar[tuple[str, ...]] = ("tokens", "mask")

    def factors(self, queries: Vectors, keys: Vectors) -> Factors:
        return token_factors(queries, keys, "soft_interaction")

    def tile(self, products: tuple[torch.Tensor, ...], rows: tuple[torch.Tensor, ...], cols: tuple[torch.Tensor, ...]) -> torch.Tensor:
        scores, queries, keys = token_products(rows, cols)
        weights = (scores / self.temperature).masked_fill(~keys, -1e30).softmax(-1) * keys
        taken = (weights * scores).sum(-1) * queries[..., 0]
        return taken.sum(-1) / queries.sum((-2, -1)).clamp(min=1)
