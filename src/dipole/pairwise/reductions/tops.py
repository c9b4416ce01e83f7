"""Max and TopK: the largest entries that count, with the columns (or rows) they stand in. Ties: the lower id wins.

Where fewer than k entries count, the rest is -inf with id -1. The gradient goes to the chosen entries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch

from dipole.core.errors import EngineError
from dipole.pairwise.reductions.base import Reduction, Spot, State, masked


class Top(NamedTuple):
    """``values`` (N, k), largest first, and ``ids`` (N, k) int64."""

    values: torch.Tensor
    ids: torch.Tensor


@dataclass(frozen=True)
class TopK(Reduction):
    """The ``k`` largest entries per row or per column."""

    k: int = 1
    splittable: ClassVar[bool] = False
    entry_bytes: ClassVar[int] = 24  # values and positions sorted whole, where ties leave no other way

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.axis == "total":
            raise EngineError("TopK: axis must be rows or cols; take the top of the row results for a total")
        if self.k < 1:
            raise EngineError(f"TopK: k must be at least 1, got {self.k}")

    def begin(self, length: int, segments: int, like: torch.Tensor) -> State:
        ids = torch.full((length, self.k), -1, dtype=torch.int64, device=like.device)
        return [like.new_full((length, self.k), -math.inf), ids]

    def add(self, state: State, term: torch.Tensor, keep: torch.Tensor | None, spot: Spot) -> None:
        values = self.lines(masked(term, keep, -math.inf))
        first = (spot.col_ids if self.axis == "rows" else spot.row_ids).start
        best, where = stable_top(values, min(self.k, values.shape[1]))
        where = torch.where(best == -math.inf, -1, where + first)
        at = self.at(spot)
        merged = torch.cat([state[0][at], best], dim=1)
        ids = torch.cat([state[1][at], where], dim=1)
        by_id = torch.where(ids < 0, torch.iinfo(ids.dtype).max, ids).argsort(dim=1)  # tiles may arrive in any order
        merged, ids = merged.gather(1, by_id), ids.gather(1, by_id)
        top, order = merged.sort(dim=1, descending=True, stable=True)
        state[0][at], state[1][at] = top[:, : self.k], ids.gather(1, order[:, : self.k])

    def pull(self, grad: torch.Tensor, results: State, term: torch.Tensor, keep: torch.Tensor | None, spot: Spot) -> torch.Tensor:
        at, ids = self.at(spot), spot.col_ids if self.axis == "rows" else spot.row_ids
        lines = torch.zeros_like(self.lines(term))
        where = results[1][at] - ids.start
        inside = (where >= 0) & (where < lines.shape[1]) & (results[1][at] >= 0)
        lines.scatter_add_(1, where.clamp(0, lines.shape[1] - 1), torch.where(inside, grad[at], 0.0))
        return self.lines(lines)

    def lines(self, tile: torch.Tensor) -> torch.Tensor:
        """The tile with the kept axis first."""
        return tile if self.axis == "rows" else tile.T

    def dense(self, term: torch.Tensor, keep: torch.Tensor, segments: torch.Tensor | None, count: int) -> Top:
        values = self.lines(term.masked_fill(~keep, -math.inf))
        top, ids = values.sort(dim=1, descending=True, stable=True)
        missing = self.k - top.shape[1]
        if missing > 0:
            top, ids = torch.nn.functional.pad(top, (0, missing), value=-math.inf), torch.nn.functional.pad(ids, (0, missing), value=-1)
        top, ids = top[:, : self.k], ids[:, : self.k]
        return Top(top, torch.where(top == -math.inf, -1, ids))


@dataclass(frozen=True)
class Max(Reduction):
    """The largest entry per row, per column or in total; -inf where none counts."""

    splittable: ClassVar[bool] = False

    def begin(self, length: int, segments: int, like: torch.Tensor) -> State:
        return [like.new_full((length,), -math.inf), *(torch.full((length,), -1, dtype=torch.int64, device=like.device) for _ in "rc")]

    def add(self, state: State, term: torch.Tensor, keep: torch.Tensor | None, spot: Spot) -> None:
        values = masked(term, keep, -math.inf)
        lines = {"rows": values, "cols": values.T, "total": values.reshape(1, -1)}[self.axis]
        best, where = lines.max(dim=1)
        at = self.at(spot)
        row, col = self.place(where, values.shape[1], spot)
        known_row, known_col = state[1][at], state[2][at]
        earlier = (row < known_row) | ((row == known_row) & (col < known_col))  # tiles may arrive in any order
        better = (best > state[0][at]) | best.isnan() | ((best == state[0][at]) & earlier)
        for running, more in zip(state, (best, row, col), strict=True):
            running[at] = torch.where(better, more, running[at])

    def place(self, where: torch.Tensor, width: int, spot: Spot) -> tuple[torch.Tensor, torch.Tensor]:
        """Row and column ids of the positions ``where`` within each line of the tile."""
        line = torch.arange(len(where), device=where.device)
        row, col = {"rows": (line, where), "cols": (where, line), "total": (where // width, where % width)}[self.axis]
        return row + spot.row_ids.start, col + spot.col_ids.start

    def pull(self, grad: torch.Tensor, results: State, term: torch.Tensor, keep: torch.Tensor | None, spot: Spot) -> torch.Tensor:
        at = self.at(spot)
        row, col = results[1][at] - spot.row_ids.start, results[2][at] - spot.col_ids.start
        inside = (row >= 0) & (row < term.shape[0]) & (col >= 0) & (col < term.shape[1]) & (results[1][at] >= 0)
        place = (row.clamp(0, term.shape[0] - 1), col.clamp(0, term.shape[1] - 1))
        return torch.zeros_like(term).index_put_(place, torch.where(inside, grad[at], 0.0), accumulate=True)

    def dense(self, term: torch.Tensor, keep: torch.Tensor, segments: torch.Tensor | None, count: int) -> torch.Tensor:
        values = term.masked_fill(~keep, -math.inf)
        lines = {"rows": values, "cols": values.T, "total": values.reshape(1, -1)}[self.axis]
        return lines.max(dim=1).values


def stable_top(values: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k largest of each line with their positions; equal values in order of position."""
    top, where = values.topk(k, dim=1)
    if k == values.shape[1] or not bool(((top[:, 1:] == top[:, :-1]).any() if k > 1 else False) or _cut_tie(values, top)):
        return top, where
    ordered, order = values.sort(dim=1, descending=True, stable=True)
    return ordered[:, :k], order[:, :k]


def _cut_tie(values: torch.Tensor, top: torch.Tensor) -> torch.Tensor:
    """Whether some value left out equals the last one kept."""
    return ((values == top[:, -1:]).sum(1) > (top == top[:, -1:]).sum(1)).any()
