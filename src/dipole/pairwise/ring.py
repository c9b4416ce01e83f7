"""The engine across processes at O(local batch x dim) memory: columns travel round a ring of ranks.

Each rank keeps its rows and passes the block of columns it holds to the next rank until every block has met every row.
In backward the blocks travel again, each with the gradient gathered for it, and come home after a full round. Column
statistics run the same way with rows travelling. Totals are row statistics folded locally, then over ranks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch

from dipole.core.errors import EngineError
from dipole.core.ranks import Ring, gather, pass_on
from dipole.pairwise.eager import _statistics, add_tile, begin, keep_for_backward, kept_for_backward, named, pull_tile, tiles
from dipole.pairwise.plan import Plan
from dipole.pairwise.problem import Problem
from dipole.pairwise.reductions import Count, Histogram, LogMeanExp, LogSumExp, Max, Mean, Reduction, Sum


def ring(problem: Problem, tensors: list[torch.Tensor], planned: Plan) -> dict[str, Any]:
    """Every wanted reduction: of this rank's rows, of its columns, or of everything."""
    results: dict[str, Any] = {}
    rows = {name: r for name, r in problem.wanted.items() if r.axis == "rows"}
    folded = {name: r for name, r in problem.wanted.items() if r.axis == "total"}
    needed = {f"{name}/{piece}": r for name, total in folded.items() for piece, r in _pieces(total).items()}
    for axis, wanted in (("rows", {**rows, **needed}), ("cols", {n: r for n, r in problem.wanted.items() if r.axis == "cols"})):
        if not wanted:
            continue
        part = dataclasses.replace(problem, wanted=wanted)
        flat = iter(_Ring.apply(part, planned, axis, *tensors))  # type: ignore[no-untyped-call]
        results |= named(wanted, flat)
    for name, total in folded.items():
        results[name] = _fold(total, {piece: results.pop(f"{name}/{piece}") for piece in _pieces(total)})
    return results


def _pieces(total: Reduction) -> dict[str, Reduction]:
    """The row statistics a total is folded from."""
    of = total.of
    if isinstance(total, LogMeanExp):
        return {"lse": LogSumExp("rows", of), "number": _Number("rows", of)}
    if isinstance(total, Mean):
        return {"sum": Sum("rows", of), "number": _Number("rows", of)}
    return {"all": dataclasses.replace(total, axis="rows")}


def _fold(total: Reduction, rows: dict[str, torch.Tensor]) -> torch.Tensor:
    if isinstance(total, LogSumExp):
        return gather(rows["all"].logsumexp(0, keepdim=True)).logsumexp(0, keepdim=True)
    if isinstance(total, LogMeanExp):
        number = gather(rows["number"].sum(0, keepdim=True)).sum().clamp(min=1).to(rows["lse"].dtype)
        return gather(rows["lse"].logsumexp(0, keepdim=True)).logsumexp(0, keepdim=True) - number.log()
    if isinstance(total, Mean):
        number = gather(rows["number"].sum(0, keepdim=True)).sum().clamp(min=1)
        return gather(rows["sum"].sum(0, keepdim=True)).sum(0, keepdim=True) / number
    if isinstance(total, Max):
        return gather(rows["all"].max(0, keepdim=True).values).max(0, keepdim=True).values  # one place, not all that tie
    if isinstance(total, (Sum, Count, Histogram)):
        return gather(rows["all"].sum(0, keepdim=True)).sum(0, keepdim=True)
    raise EngineError(f"{type(total).__name__} in total is not defined on a ring; reduce per row and fold the rows")


@dataclasses.dataclass(frozen=True)
class _Number(Count):
    """How many entries count, whatever their value."""

    def true(self, term: torch.Tensor, keep: torch.Tensor | None) -> torch.Tensor:
        return torch.ones_like(term, dtype=torch.bool) if keep is None else keep


class _Ring(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, problem: Problem, planned: Plan, axis: str, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with torch.no_grad(), torch.autocast(tensors[0].device.type, enabled=False):
            states = begin(problem, tensors)
            for part, block, _ in _round(problem, tensors, axis, ()):
                for rows, cols in tiles(part, planned):
                    add_tile(part, block, states, rows, cols)
            results = [r.end(s) for r, s in zip(problem.wanted.values(), states, strict=True)]
        ctx.plan, ctx.axis = planned, axis
        return keep_for_backward(ctx, problem, tensors, results)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor | None) -> tuple[Any, ...]:
        problem: Problem = ctx.problem
        tensors, results, upstream = kept_for_backward(ctx, grads)
        asked = [  # every rank must take part in the round, also one whose result nobody used
            (reduction, torch.zeros_like(result[0]) if grad is None else grad, result)
            for reduction, grad, result in zip(problem.wanted.values(), upstream, results, strict=True)
            if reduction.differentiable
        ]
        sums = [torch.zeros(t.shape, dtype=_statistics(t), device=t.device) if t.is_floating_point() else None for t in tensors]
        travels = _travellers(problem, ctx.axis)
        with torch.autocast(tensors[0].device.type, enabled=False):
            load = tuple(s for i in travels if (s := sums[i]) is not None)
            for part, block, carried in _round(problem, tensors, ctx.axis, load, home=True):
                here = iter(carried)
                mixed = [next(here) if i in travels and s is not None else s for i, s in enumerate(sums)]
                for rows, cols in tiles(part, ctx.plan):
                    pull_tile(part, block, asked, mixed, rows, cols)
                brought = carried
            arrived = iter(brought)
        out = [next(arrived) if i in travels and s is not None else s for i, s in enumerate(sums)]
        needed = ctx.needs_input_grad[3:]
        return (None, None, None, *(s.to(t.dtype) if n and s is not None else None for s, t, n in zip(out, tensors, needed, strict=True)))


def _travellers(problem: Problem, axis: str) -> list[int]:
    """Which tensors of the flat list go round."""
    kinds = ("right", "col") if axis == "rows" else ("left", "row")
    return [i for i, slot in enumerate(problem.layout) if slot.kind in kinds]


def _round(problem: Problem, tensors: Sequence[torch.Tensor], axis: str, load: tuple[torch.Tensor, ...], home: bool = False) -> Any:
    """Each rank's block in turn: the problem over it, the tensors that hold it, and the load that travels with it.

    With ``home`` the load makes one more hop, so that after the last step it is back where it belongs (in the yielded list,
    which is updated in place).
    """
    ring_: Ring = problem.pairs.ring  # type: ignore[assignment]
    starts = ring_.col_starts if axis == "rows" else ring_.row_starts
    travels = _travellers(problem, axis)
    block, carried = list(tensors), list(load)
    holder = ring_.rank
    for step in range(ring_.world):
        span = slice(starts[holder], starts[holder + 1])
        if axis == "rows":
            part = dataclasses.replace(problem, cols=span, held=(problem.held[0], span.start))
        else:
            part = dataclasses.replace(problem, rows=span, held=(span.start, problem.held[1]))
        yield part, block, carried
        last = step == ring_.world - 1
        if last and not home:
            return
        holder = (holder - 1) % ring_.world
        room = starts[holder + 1] - starts[holder]
        moving = carried if last else [block[i].detach() for i in travels] + carried
        arriving = pass_on(moving, [room] * len(moving))
        if not last:
            block = list(block)
            for i, t in zip(travels, arriving, strict=False):
                block[i] = t
            arriving = arriving[len(travels) :]
        carried[:] = arriving
