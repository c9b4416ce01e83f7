"""MaxSim: each query token finds its best key token; the score is their sum (or mean).

    s(q, k) = sum_a max_b q_a . k_b        over the tokens the masks keep

Both sides are (tokens (N, L, d), mask (N, L) bool). Source: arXiv:2004.12832, eq. 3; mean: arXiv:2111.07783 (FILIP).
A key without tokens scores 0 for every query token.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from dipole.core.part import part, switch
from dipole.core.scores import Factors
from dipole.core.vectors import Vectors
from dipole.pairwise.scores.tokens import token_factors, token_products

__all__ = ["MaxSim"]


@part
class MaxSim:
    """Late interaction by maxima."""

    mean: bool = switch(False, "divide by the number of query tokens")

    reads: ClassVar[tuple[str, ...]] = ("tokens", "mask")

    def factors(self, queries: Vectors, keys: Vectors) -> Factors:
        return token_factors(queries, keys, "max_sim")

    def tile(self, products: tuple[torch.Tensor, ...], rows: tuple[torch.Tensor, ...], cols: tuple[torch.Tensor, ...]) -> torch.Tensor:
        scores, queries, keys = token_products(rows, cols)
        best = scores.masked_fill(~keys, -torch.inf).amax(-1)
        best = torch.where(keys.any(-1) & queries[..., 0], best, 0.0)
        total = best.sum(-1)
        return total / queries.sum((-2, -1)).clamp(min=1) if self.mean else total
