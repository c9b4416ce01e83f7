"""What the score of a row and a column means, and how it is cut into tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from dipole.core.errors import DataError
from dipole.core.part import part, part_name
from dipole.core.vectors import Vectors, leading, one_tensor, wide


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


@dataclass(frozen=True, eq=False)
class Channel:
    """A second score over the same rows and columns: a teacher's vectors, another modality, the log of a weight."""

    queries: Vectors
    keys: Vectors
    score: Score

    def flipped(self) -> Channel:
        """Keys ask, queries answer."""
        return Channel(self.keys, self.queries, flipped(self.score))


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


@dataclass(frozen=True, eq=False)
class Flipped:
    """The score of the same pairs with the sides exchanged: the transposed matrix, also where s(q, k) is not s(k, q)."""

    score: Score

    def factors(self, queries: Vectors, keys: Vectors) -> Factors:
        whole = self.score.factors(keys, queries)
        return Factors(tuple((b, a) for a, b in whole.products), whole.cols, whole.rows)

    def tile(
        self,
        products: tuple[torch.Tensor, ...],
        rows: tuple[torch.Tensor, ...],
        cols: tuple[torch.Tensor, ...],
    ) -> torch.Tensor:
        return self.score.tile(tuple(p.T for p in products), cols, rows).T


def flipped(score: Score) -> Score:
    """The score with the sides exchanged."""
    if isinstance(score, Dot):
        return score
    return score.score if isinstance(score, Flipped) else Flipped(score)


def factors_of(score: Score, queries: Vectors, keys: Vectors) -> Factors:
    """The score's factors, in full precision whatever the autocast. Raises DataError where the sides' vectors differ in length."""
    with torch.autocast(leading(queries).device.type, enabled=False):
        whole = score.factors(queries, keys)
    for left, right in whole.products:
        if left.shape[1] != right.shape[1]:
            named = score.score if isinstance(score, Flipped) else score
            rule = f"score {part_name(type(named))}: queries and keys must have vectors of one length"
            raise DataError(rule, value=(left.shape[1], right.shape[1]), remedy="encode both with one model, or project one side")
    return whole


def scores_of_pairs(score: Score, queries: Vectors, keys: Vectors) -> torch.Tensor:
    """(N,) the score of each query with the key of the same index, float32 or better, whatever the autocast."""
    with torch.autocast(leading(queries).device.type, enabled=False):
        factors = factors_of(score, queries, keys)
        products = tuple((wide(a) * wide(b)).sum(-1) for a, b in factors.products)
        if not factors.rows and not factors.cols:  # a tile of one column says it all, and costs a tenth
            return score.tile(tuple(x[:, None] for x in products), (), ()).reshape(-1)
        rows, cols = (tuple(wide(t) if t.is_floating_point() else t for t in side) for side in (factors.rows, factors.cols))

        def one(p: tuple[torch.Tensor, ...], r: tuple[torch.Tensor, ...], c: tuple[torch.Tensor, ...]) -> torch.Tensor:
            return score.tile(tuple(x.reshape(1, 1) for x in p), tuple(x[None] for x in r), tuple(x[None] for x in c)).reshape(())

        scores: torch.Tensor = torch.func.vmap(one)(products, rows, cols)
        return scores


def scores_of_block(score: Score, queries: Vectors, keys: Vectors) -> torch.Tensor:
    """(n, m) the scores of a block of queries and a block of keys, float32 or better, whatever the autocast."""
    with torch.autocast(leading(queries).device.type, enabled=False):
        factors = factors_of(score, queries, keys)
        products = tuple(wide(a) @ wide(b).T for a, b in factors.products)
        rows, cols = (tuple(wide(t) if t.is_floating_point() else t for t in side) for side in (factors.rows, factors.cols))
        return score.tile(products, rows, cols)
