"""The streaming backend: tile after tile, nothing of N x M ever held, gradients by recomputing each tile.

Forward: every tile updates the running state of every reduction. Backward: every tile is computed again, the
reductions say what gradient its terms get, autograd carries that through the tile function, and two matrix products
add it to both sides.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from dipole.core.errors import EngineError
from dipole.pairwise.plan import Plan
from dipole.pairwise.problem import Problem, Slot
from dipole.pairwise.reductions.base import Reduction, State
from dipole.pairwise.reductions.logsumexp import LogSumExp, shared_add, shared_pull
from dipole.pairwise.reductions.tops import Top, TopK


def eager(problem: Problem, tensors: list[torch.Tensor], plan: Plan, compiled: bool = False) -> dict[str, Any]:
    """Every wanted reduction, streamed; with ``compiled`` the arithmetic of full tiles is fused."""
    flat = iter(_Streamed.apply(problem, plan, compiled, *tensors))  # type: ignore[no-untyped-call]
    return named(problem.wanted, flat)


def named(wanted: Mapping[str, Reduction], flat: Iterator[torch.Tensor]) -> dict[str, Any]:
    """The results of each reduction by its name, from the flat tensors an autograd function returns."""
    results: dict[str, Any] = {}
    for name, reduction in wanted.items():
        parts = [next(flat) for _ in range(_arity(reduction))]
        results[name] = Top(*parts) if isinstance(reduction, TopK) else parts[0]
    return results


def keep_for_backward(
    ctx: Any, problem: Problem, tensors: Sequence[torch.Tensor], results: Sequence[tuple[torch.Tensor, ...]]
) -> tuple[torch.Tensor, ...]:
    """Save the inputs and results, and nothing else; the results flat, those without a gradient marked."""
    flat = [t for r in results for t in r]
    ctx.problem, ctx.lengths = problem, [len(r) for r in results]
    ctx.save_for_backward(*tensors, *flat)
    carries = {id(r[0]) for r, reduction in zip(results, problem.wanted.values(), strict=True) if reduction.differentiable}
    ctx.mark_non_differentiable(*(t for t in flat if id(t) not in carries))
    ctx.set_materialize_grads(False)
    return tuple(flat)


def kept_for_backward(
    ctx: Any, grads: Sequence[torch.Tensor | None]
) -> tuple[Sequence[torch.Tensor], list[State], list[torch.Tensor | None]]:
    """The inputs, each reduction's results and its upstream gradient. Raises EngineError for a double backward."""
    if torch.is_grad_enabled():
        raise EngineError(
            "double backward through the pairwise engine is refused: second derivatives are not computed. "
            "Call backward without create_graph=True, or use backend='dense' at a size whose matrix fits"
        )
    count = len(ctx.problem.layout)
    starts = [0, *itertools.accumulate(ctx.lengths)]
    flat = ctx.saved_tensors[count:]
    results = [list(flat[a:b]) for a, b in itertools.pairwise(starts)]
    return ctx.saved_tensors[:count], results, [grads[at] for at in starts[:-1]]


def _arity(reduction: Reduction) -> int:
    """How many tensors ``end`` returns."""
    return len(reduction.end(reduction.begin(1, 1, torch.zeros(1))))


class _Streamed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, problem: Problem, plan: Plan, compiled: bool, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with torch.no_grad(), torch.autocast(tensors[0].device.type, enabled=False):
            results = sweep(problem, plan, tensors, compiled)
        ctx.plan, ctx.compiled = plan, compiled
        return keep_for_backward(ctx, problem, tensors, results)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor | None) -> tuple[Any, ...]:
        tensors, results, upstream = kept_for_backward(ctx, grads)
        with torch.autocast(tensors[0].device.type, enabled=False):
            gradients = pull_back(ctx.problem, ctx.plan, tensors, results, upstream, ctx.needs_input_grad[3:], ctx.compiled)
        return (None, None, None, *gradients)


def tiles(problem: Problem, plan: Plan) -> Iterator[tuple[slice, slice]]:
    """The tiles of a pass, row block by row block."""
    for i in range(problem.rows.start, problem.rows.stop, plan.tile_rows):
        for j in range(problem.cols.start, problem.cols.stop, plan.tile_cols):
            yield slice(i, min(i + plan.tile_rows, problem.rows.stop)), slice(j, min(j + plan.tile_cols, problem.cols.stop))


def begin(problem: Problem, tensors: Sequence[torch.Tensor]) -> list[State]:
    """The empty states of all reductions."""
    like = torch.empty(0, dtype=problem.statistics, device=tensors[0].device)
    return [r.begin(r.length(*problem.shape), problem.segments.get(name, 0), like) for name, r in problem.wanted.items()]


def sweep(problem: Problem, plan: Plan, tensors: Sequence[torch.Tensor], compiled: bool) -> list[tuple[torch.Tensor, ...]]:
    """The results of all reductions over the problem's rows and columns."""
    states = begin(problem, tensors)
    for rows, cols in tiles(problem, plan):
        if compiled and _full(plan, rows, cols):
            from dipole.pairwise.compiled import add_tile_compiled

            add_tile_compiled(problem, tensors, states, rows, cols)
        else:
            add_tile(problem, tensors, states, rows, cols)
    return [r.end(state) for r, state in zip(problem.wanted.values(), states, strict=True)]


def add_tile(problem: Problem, tensors: Sequence[torch.Tensor], states: Sequence[State], rows: slice, cols: slice) -> None:
    """Update the running states with one tile."""
    blocks = problem.cut(tensors, rows, cols)
    tile = problem.tile(problem.products(blocks), blocks, rows, cols)
    terms, keep = problem.terms(tile), problem.keep(tile)
    shared: dict[str, list[tuple[LogSumExp, State]]] = {}
    for reduction, state in zip(problem.wanted.values(), states, strict=True):
        if isinstance(reduction, LogSumExp) and not reduction.by and not tile.scores.is_cuda:
            shared.setdefault(reduction.of, []).append((reduction, state))
        else:
            reduction.add(state, terms[reduction.of], keep, problem.spot(tile, reduction))
    for of, group in shared.items():
        shared_add(group, terms[of], keep, problem.spot(tile, group[0][0]))


def pull_back(
    problem: Problem,
    plan: Plan,
    tensors: Sequence[torch.Tensor],
    results: Sequence[State],
    upstream: Sequence[torch.Tensor | None],
    needed: Sequence[bool],
    compiled: bool,
) -> list[torch.Tensor | None]:
    """Gradients of the flat tensors, each in its tensor's type."""
    sums = [torch.zeros(t.shape, dtype=_statistics(t), device=t.device) if n else None for t, n in zip(tensors, needed, strict=True)]
    asked = [
        (r, g, res) for r, g, res in zip(problem.wanted.values(), upstream, results, strict=True) if g is not None and r.differentiable
    ]
    if asked:
        for rows, cols in tiles(problem, plan):
            if compiled and _full(plan, rows, cols):
                from dipole.pairwise.compiled import pull_tile_compiled

                pull_tile_compiled(problem, tensors, asked, sums, rows, cols)
            else:
                pull_tile(problem, tensors, asked, sums, rows, cols)
    return [None if s is None else s.to(t.dtype) for s, t in zip(sums, tensors, strict=True)]


def _full(plan: Plan, rows: slice, cols: slice) -> bool:
    return (rows.stop - rows.start, cols.stop - cols.start) == (plan.tile_rows, plan.tile_cols)


def _statistics(tensor: torch.Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def pull_tile(
    problem: Problem,
    tensors: Sequence[torch.Tensor],
    asked: Sequence[tuple[Reduction, torch.Tensor, State]],
    sums: Sequence[torch.Tensor | None],
    rows: slice,
    cols: slice,
) -> None:
    """Add one tile's share to the gradients."""
    blocks = [b.detach() for b in problem.cut(tensors, rows, cols)]
    products = problem.products(blocks)
    needs = [s is not None for s in sums]
    pairs_of = [(i, i + 1) for i, slot in enumerate(problem.layout) if slot.kind == "left"]
    live = [p.requires_grad_() if needs[i] or needs[j] else p for p, (i, j) in zip(products, pairs_of, strict=True)]
    leaves = [i for i, slot in enumerate(problem.layout) if slot.kind not in ("left", "right") and needs[i]]
    for i in leaves:
        blocks[i] = blocks[i].requires_grad_()
    with torch.enable_grad():
        tile = problem.tile(live, blocks, rows, cols)
        terms = problem.terms(tile)
    with torch.no_grad():
        keep = problem.keep(tile)
        pulls = {of: _pull_term(problem, asked, of, term.detach(), keep, tile) for of, term in terms.items() if term.requires_grad}
    wanted = {of: pull for of, pull in pulls.items() if pull is not None}
    if not wanted:
        return
    inputs = [p for p in live if p.requires_grad] + [blocks[i] for i in leaves]
    found = iter(torch.autograd.grad([terms[of] for of in wanted], inputs, list(wanted.values()), allow_unused=True))
    of_products = [next(found) if p.requires_grad else None for p in live]
    add_products(problem, sums, blocks, of_products, {i: next(found) for i in leaves}, rows, cols)


def add_products(
    problem: Problem,
    sums: Sequence[torch.Tensor | None],
    blocks: Sequence[torch.Tensor],
    of_products: Sequence[torch.Tensor | None],
    of_blocks: Mapping[int, torch.Tensor | None],
    rows: slice,
    cols: slice,
) -> None:
    """Carry a tile's gradients through the matrix products into the sums of both sides."""
    lefts = [i for i, slot in enumerate(problem.layout) if slot.kind == "left"]
    for grad, i in zip(of_products, lefts, strict=True):
        if grad is not None:
            _add_product(sums[i], grad, blocks[i + 1], problem.place(problem.layout[i], rows, cols))
            _add_product(sums[i + 1], grad.T, blocks[i], problem.place(problem.layout[i + 1], rows, cols))
    for i, block_grad in of_blocks.items():
        _add_block(problem, sums[i], block_grad, problem.layout[i], rows, cols)


def _pull_term(
    problem: Problem,
    asked: Sequence[tuple[Reduction, torch.Tensor, State]],
    of: str,
    term: torch.Tensor,
    keep: torch.Tensor | None,
    tile: Any,
) -> torch.Tensor | None:
    """The gradient of one term of a tile, from all reductions over it; entries that do not count get none."""
    mine = [(r, g, res) for r, g, res in asked if r.of == of]
    shared = [(r, g, res) for r, g, res in mine if isinstance(r, LogSumExp) and not r.by and not term.is_cuda]
    total: torch.Tensor | None = None
    if shared:
        total = shared_pull(shared, term, keep, problem.spot(tile, shared[0][0]))
    for reduction, grad, results in mine:
        if isinstance(reduction, LogSumExp) and not reduction.by and not term.is_cuda:
            continue
        share = reduction.pull(grad, results, term, keep, problem.spot(tile, reduction))
        share = share if keep is None else share * keep
        total = share if total is None else total + share
    return None if total is None else total.expand(term.shape)


def _add_product(into: torch.Tensor | None, grad: torch.Tensor, other: torch.Tensor, at: slice) -> None:
    """into[at] += grad @ other, accumulated in float32 or better."""
    if into is None:
        return
    if other.is_cuda and other.dtype == torch.bfloat16:  # float16 would lose the small gradients of a large batch
        into[at] += torch.mm(grad.to(other.dtype), other, out_dtype=torch.float32)
    else:
        into[at].addmm_(grad.to(into.dtype), other.to(into.dtype))


def _add_block(problem: Problem, into: torch.Tensor | None, grad: torch.Tensor | None, slot: Slot, rows: slice, cols: slice) -> None:
    if into is None or grad is None:
        return
    if slot.kind == "param":
        into += grad
    else:
        into[problem.place(slot, rows, cols)] += grad
