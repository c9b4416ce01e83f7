"""Sum, Mean and Count over the entries that count; an empty sum is 0, an empty mean is 0, an empty count is 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from dipole.pairwise.reductions.base import Reduction, Spot, State, masked


@dataclass(frozen=True)
class Sum(Reduction):
    """sum_j t_ij."""

    fusible: ClassVar[bool] = True

    def begin(self, length: int, segments: int, like: torch.Tensor) -> State:
        return [like.new_zeros((length, segments) if self.by else (length,))]

    def add(self, state: State, term: torch.Tensor, keep: torch.Tensor | None, spot: Spot) -> None:
        if spot.segments is None:
            self.absorb(state, self.partial(term, keep), spot)
        else:
            state[0][self.at(spot)] += self.split(masked(term, keep, 0.0), spot.segments, state[0].shape[1])

    def partial(self, term: torch.Tensor, keep: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        return (self.fold(masked(term, keep, 0.0)),)

    def absorb(self, state: State, parts: tuple[torch.Tensor, ...], spot: Spot) -> None:
        state[0][self.at(spot)] += parts[0]

    def pull(self, grad: torch.Tensor, results: State, term: torch.Tensor, keep: torch.Tensor | None, spot: Spot) -> torch.Tensor:
        values = grad[self.at(spot)]
        return self.spread(values) if spot.segments is None else self.unsplit(values, spot.segments)

    def pull_here(self, grad: torch.Tensor, results: State, term: torch.Tensor, keep: torch.Tensor | None) -> torch.Tensor:
        return self.spread(grad)

    def dense(self, term: torch.Tensor, keep: torch.Tensor, segments: torch.Tensor | None, count: int) -> torch.Tensor:
        values = torch.where(keep, term, 0.0)
        if segments is None:
            return values.sum(self.dim).reshape(-1)
        lines = values if self.axis == "rows" else values.T
        return lines @ torch.nn.functional.one_hot(segments, count).to(lines.dtype)


@dataclass(frozen=True)
class Mean(Reduction):
    """sum_j t_ij / number of entries that count."""

    fusible: ClassVar[bool] = True

    def begin(self, length: int, segments: int, like: torch.Tensor) -> State:
        shape = (length, segments) if self.by else (length,)
        return [like.new_zeros(shape), torch.zeros(shape, dtype=torch.int64, device=like.device)]

    def add(self, state: State, term: torch.Tensor, keep: torch.Tensor | None, spot: Spot) -> None:
        if spot.segments is None:
            self.absorb(state, self.partial(term, keep), spot)
            return
        ones = torch.ones_like(term, dtype=torch.int64) if keep is None else keep.long()
        for running, values, kept in ((state[:1], term, keep), (state[1:], ones, None)):
            _sum(self).add(running, values, kept, spot)

    def partial(self, term: torch.Tensor, keep: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        return *_sum(self).partial(term, keep), self.number(term, keep)

    def absorb(self, state: State, parts: tuple[torch.Tensor, ...], spot: Spot) -> None:
        for running, part in zip(state, parts, strict=True):
            running[self.at(spot)] += part

    def end(self, state: State) -> tuple[torch.Tensor, ...]:
        return state[0] / state[1].clamp(min=1), state[1]

    def pull(self, grad: torch.Tensor, results: State, term: torch.Tensor, keep: torch.Tensor | None, spot: Spot) -> torch.Tensor:
        return _sum(self).pull(grad / results[1].clamp(min=1), results, term, keep, spot)

    def pull_here(self, grad: torch.Tensor, results: State, term: torch.Tensor, keep: torch.Tensor | None) -> torch.Tensor:
        return self.spread(grad / results[1].clamp(min=1))

    def dense(self, term: torch.Tensor, keep: torch.Tensor, segments: torch.Tensor | None, count: int) -> torch.Tensor:
        total = _sum(self).dense(term, keep, segments, count)
        number = _sum(self).dense(keep.to(term.dtype), keep, segments, count)
        return total / number.clamp(min=1)


@dataclass(frozen=True)
class Count(Reduction):
    """How many entries count and are true (or not zero); int64, no gradient."""

    differentiable: ClassVar[bool] = False
    fusible: ClassVar[bool] = True

    def begin(self, length: int, segments: int, like: torch.Tensor) -> State:
        return [torch.zeros((length, segments) if self.by else (length,), dtype=torch.int64, device=like.device)]

    def add(self, state: State, term: torch.Tensor, keep: torch.Tensor | None, spot: Spot) -> None:
        if spot.segments is None:
            self.absorb(state, self.partial(term, keep), spot)
        else:
            _sum(self).add(state, self.true(term, keep).long(), None, spot)

    def partial(self, term: torch.Tensor, keep: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        return (self.fold(self.true(term, keep).long()),)

    def absorb(self, state: State, parts: tuple[torch.Tensor, ...], spot: Spot) -> None:
        state[0][self.at(spot)] += parts[0]

    def true(self, term: torch.Tensor, keep: torch.Tensor | None) -> torch.Tensor:
        """(n, m) bool: what is counted."""
        return (term != 0) if keep is None else (term != 0) & keep

    def dense(self, term: torch.Tensor, keep: torch.Tensor, segments: torch.Tensor | None, count: int) -> torch.Tensor:
        return _sum(self).dense(((term != 0) & keep).double(), keep, segments, count).long()


def _sum(reduction: Reduction) -> Sum:
    return Sum(reduction.axis, reduction.of, reduction.by)
