"""What the score of a row and a column means, and how it is cut into tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from dipole.core.part import part
from dipole.core.vectors import Vectors, one_tensor


@dataclass(frozen=True, eq=False)
class Factors:
    """A score taken apart so that a tile of it costs its matrix products and little else.

    ``products``: pairs of (N, p) and (M, p); the engine computes (n, m) tiles A_i B_j^T of each.
    ``rows`` / ``cols``: tensors with leading N / M that the score's ``tile`` also needs, cut along that axis.
    """

    products: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    rows: tuple[torch.Tensor, ...] = ()
    cols: tuple[torch.Tensor, ...] = ()


class Score(Protocol):
    """A score s(q, k). Both methods are plain differentiable PyTorch."""

    def factors(self, queries: Vectors, keys: Vectors) -> Factors:
        """Everything that costs O(N + M): normalising, projecting, squared norms."""
        ...

    def tile(
        self,
        products: tuple[torch.Tensor, ...],
        rows: tuple[torch.Tensor, ...],
        cols: tuple[torch.Tensor, ...],
    ) -> torch.Tensor:
        """The (n, m) scores of a block of rows and a block of columns, from the blocks of ``factors``."""
        ...


@part
class Dot:
    """s(q, k) = q . k, for vectors that are already what they should be (normalised by the encoder, say)."""

    def factors(self, queries: Vectors, keys: Vectors) -> Factors:
        return Factors(products=((one_tensor(queries, "dot"), one_tensor(keys, "dot")),))

    def tile(
        self,
        products: tuple[torch.Tensor, ...],
        rows: tuple[torch.Tensor, ...],
        cols: tuple[torch.Tensor, ...],
    ) -> torch.Tensor:
        return products[0]
