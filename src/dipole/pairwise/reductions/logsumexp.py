"""LogSumExp: l_i = log sum_j exp(t_ij) over the entries that count; -inf where none does.

Gradient: dl_i / dt_ij = exp(t_ij - l_i). Several of them over one term share a single exponential per tile where the
range of the values allows it (``shared_add``, ``shared_pull``), which is most of the arithmetic of a two-sided softmax.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from dipole.pairwise.reductions.base import Reduction, Spot, State, masked


@dataclass(frozen=True)
class LogSumExp(Reduction):
    """log sum exp per row, per column or in total."""

    fusible: ClassVar[bool] = True

    def begin(self, length: int, segments: int, like: torch.Tensor) -> State:
        shape = (length, segments) if self.by else (length,)
        return [like.new_full(shape, -math.inf)]

    def add(self, state: State, term: torch.Tensor, keep: torch.Tensor | None, spot: Spot) -> None:
        if spot.segments is None:
            self.absorb(state, self.partial(term, keep), spot)
            return
        values = masked(term, keep, -math.inf)
        lines = values if self.axis == "rows" else values.T
        top = lines.new_full((lines.shape[0], state[0].shape[1]), -math.inf)
        top.scatter_reduce_(1, spot.segments.expand_as(lines), lines, "amax")
        sums = self.split((values - self.unsplit(finite(top), spot.segments)).exp(), spot.segments, state[0].shape[1])
        merge(state[0][self.at(spot)], sums.log() + finite(top))

    def partial(self, term: torch.Tensor, keep: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        values = masked(term, keep, -math.inf)
        top = finite(values.amax(self.dim).reshape(-1))
        return (self.fold((values - self.spread(top)).exp()).log() + top,)

    def absorb(self, state: State, parts: tuple[torch.Tensor, ...], spot: Spot) -> None:
        merge(state[0][self.at(spot)], parts[0])

    def pull(self, grad: torch.Tensor, results: State, term: torch.Tensor, keep: torch.Tensor | None, spot: Spot) -> torch.Tensor:
        at = self.at(spot)
        if spot.segments is None:
            return self.pull_here(grad[at], [results[0][at]], term, keep)
        level, weight = self.unsplit(finite(results[0][at]), spot.segments), self.unsplit(grad[at], spot.segments)
        return (masked(term, keep, -math.inf) - level).exp().mul_(weight)

    def pull_here(self, grad: torch.Tensor, results: State, term: torch.Tensor, keep: torch.Tensor | None) -> torch.Tensor:
        return (masked(term, keep, -math.inf) - self.spread(finite(results[0]))).exp() * self.spread(grad)

    def dense(self, term: torch.Tensor, keep: torch.Tensor, segments: torch.Tensor | None, count: int) -> torch.Tensor:
        if segments is not None:
            lines, kept = (term, keep) if self.axis == "rows" else (term.T, keep.T)
            whole = LogSumExp("rows")
            return torch.stack([whole.dense(lines, kept & (segments == s), None, 0) for s in range(count)], dim=1)
        values = term.masked_fill(~keep, -math.inf)
        finite_ones = values != -math.inf
        any_left = finite_ones.any(dim=self.dim, keepdim=True) if self.axis != "total" else finite_ones.any().reshape(1, 1)
        safe = torch.where(any_left, values, 0.0)
        return torch.where(any_left.reshape(-1), safe.logsumexp(self.dim).reshape(-1), -math.inf)


@dataclass(frozen=True)
class LogMeanExp(Reduction):
    """log of the mean of exp(t) over the entries that count: LogSumExp minus the log of their number."""

    splittable: ClassVar[bool] = False
    fusible: ClassVar[bool] = True

    def begin(self, length: int, segments: int, like: torch.Tensor) -> State:
        return [like.new_full((length,), -math.inf), torch.zeros(length, dtype=torch.int64, device=like.device)]

    def add(self, state: State, term: torch.Tensor, keep: torch.Tensor | None, spot: Spot) -> None:
        self.absorb(state, self.partial(term, keep), spot)

    def partial(self, term: torch.Tensor, keep: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        return *LogSumExp(self.axis).partial(term, keep), self.number(term, keep)

    def absorb(self, state: State, parts: tuple[torch.Tensor, ...], spot: Spot) -> None:
        LogSumExp(self.axis).absorb(state[:1], parts[:1], spot)
        state[1][self.at(spot)] += parts[1]

    def end(self, state: State) -> tuple[torch.Tensor, ...]:
        return state[0] - state[1].clamp(min=1).to(state[0].dtype).log(), state[0]

    def pull(self, grad: torch.Tensor, results: State, term: torch.Tensor, keep: torch.Tensor | None, spot: Spot) -> torch.Tensor:
        at = self.at(spot)
        return self.pull_here(grad[at], [r[at] for r in results], term, keep)

    def pull_here(self, grad: torch.Tensor, results: State, term: torch.Tensor, keep: torch.Tensor | None) -> torch.Tensor:
        return LogSumExp(self.axis).pull_here(grad, results[1:], term, keep)

    def dense(self, term: torch.Tensor, keep: torch.Tensor, segments: torch.Tensor | None, count: int) -> torch.Tensor:
        number = keep.sum(self.dim).reshape(-1).clamp(min=1).to(term.dtype)
        return LogSumExp(self.axis).dense(term, keep, None, 0) - number.log()


def finite(values: torch.Tensor) -> torch.Tensor:
    """-inf, the value of an empty sum, becomes 0 so that differences stay numbers."""
    return values.masked_fill(values == -math.inf, 0.0)


def merge(running: torch.Tensor, more: torch.Tensor) -> None:
    """running <- log(exp running + exp more), in place; -inf is the neutral element."""
    torch.logaddexp(running, more, out=running)


# How far below the tile's largest value a line's own sum may lie before one shared exponential loses digits of it.
_SHARED_FLOOR = {torch.float32: 1e-25, torch.float64: 1e-200}
_SHARED_SPAN = {torch.float32: 40.0, torch.float64: 300.0}


def shared_add(group: Sequence[tuple[LogSumExp, State]], term: torch.Tensor, keep: torch.Tensor | None, spot: Spot) -> None:
    """What ``add`` does for several unsplit LogSumExp over the same term, with one exponential for all of them."""
    values = masked(term, keep, -math.inf)
    top = values.max()
    if float(top) == -math.inf:
        return
    powers = (values - top).exp_()
    sums = [reduction.fold(powers) for reduction, _ in group]
    floor = _SHARED_FLOOR[term.dtype]
    if all(float(s.min()) > floor for s in sums):
        for (reduction, state), s in zip(group, sums, strict=True):
            merge(state[0][reduction.at(spot)], s.log_() + top)
        return
    for reduction, state in group:
        reduction.add(state, term, keep, spot)


def shared_pull(
    group: Sequence[tuple[LogSumExp, torch.Tensor, State]], term: torch.Tensor, keep: torch.Tensor | None, spot: Spot
) -> torch.Tensor:
    """What the sum of the ``pull`` of several unsplit LogSumExp over the same term is, with one exponential."""
    levels = [finite(results[0][reduction.at(spot)]) for reduction, _, results in group]
    top = max(float(level.max()) for level in levels)
    if top - min(float(level.min()) for level in levels) > _SHARED_SPAN[term.dtype]:
        total = group[0][0].pull(group[0][1], group[0][2], term, keep, spot)
        for reduction, grad, results in group[1:]:
            total += reduction.pull(grad, results, term, keep, spot)
        return total
    factors = [
        reduction.spread((top - level).exp_().mul_(grad[reduction.at(spot)]))
        for (reduction, grad, _), level in zip(group, levels, strict=True)
    ]
    powers = (masked(term, keep, -math.inf) - top).exp_()
    if len(factors) == 1:
        return powers.mul_(factors[0])
    mixed = factors[0] + factors[1]
    for factor in factors[2:]:
        mixed = mixed + factor
    return powers.mul_(mixed)
