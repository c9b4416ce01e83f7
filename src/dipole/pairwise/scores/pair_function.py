"""Any differentiable function of a block of rows and a block of columns as a score.

For what is no matrix product: an optimal-transport distance, a Gram volume, a denoiser's error. Not a recipe part, since
a recipe holds values, not code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from dipole.core.scores import Factors
from dipole.core.vectors import Vectors

__all__ = ["PairFunction"]

Blocks = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class PairFunction:
    """``fn(rows, cols) -> (n, m)``; rows are the query tensors cut to (n, ...), cols the key tensors cut to (m, ...)."""

    fn: Callable[[Blocks, Blocks], torch.Tensor]

    def factors(self, queries: Vectors, keys: Vectors) -> Factors:
        rows = (queries,) if isinstance(queries, torch.Tensor) else tuple(queries)
        cols = (keys,) if isinstance(keys, torch.Tensor) else tuple(keys)
        return Factors((), rows, cols)

    def tile(self, products: Blocks, rows: Blocks, cols: Blocks) -> torch.Tensor:
        return self.fn(rows, cols)
