"""Histogram: how many entries that count fall into each of equal bins; int64, no gradient. Outside values are left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from dipole.core.errors import EngineError
from dipole.pairwise.reductions.base import Reduction, Spot, State


@dataclass(frozen=True)
class Histogram(Reduction):
    """Counts in ``bins`` equal bins from ``low`` to ``high`` (last edge included), per row, per column or in total."""

    low: float = -1.0
    high: float = 1.0
    bins: int = 50
    differentiable: ClassVar[bool] = False
    splittable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.low < self.high or self.bins < 1:
            raise EngineError(f"Histogram: needs low < high and at least one bin, got {self.low}, {self.high}, {self.bins}")

    def begin(self, length: int, segments: int, like: torch.Tensor) -> State:
        return [torch.zeros(length, self.bins, dtype=torch.int64, device=like.device)]

    def add(self, state: State, term: torch.Tensor, keep: torch.Tensor | None, spot: Spot) -> None:
        inside = (term >= self.low) & (term <= self.high)
        if keep is not None:
            inside &= keep
        where = ((term - self.low) * (self.bins / (self.high - self.low))).nan_to_num(0.0).long().clamp_(0, self.bins - 1)
        lines, kept = {
            "rows": (where, inside),
            "cols": (where.T, inside.T),
            "total": (where.reshape(1, -1), inside.reshape(1, -1)),
        }[self.axis]
        at = self.at(spot)
        state[0][at] = state[0][at].scatter_add(1, lines, kept.long())

    def dense(self, term: torch.Tensor, keep: torch.Tensor, segments: torch.Tensor | None, count: int) -> torch.Tensor:
        lines, kept = {"rows": (term, keep), "cols": (term.T, keep.T), "total": (term.reshape(1, -1), keep.reshape(1, -1))}[self.axis]
        return torch.stack(
            [torch.histc(line[k].detach(), self.bins, self.low, self.high).long() for line, k in zip(lines, kept, strict=True)]
        )
