"""The streaming backend with each tile's arithmetic fused by ``torch.compile``; the matrix products stay what they are.

Compiled are two functions: a tile's scores -> its share of every reduction, and the same scores with the upstream
gradients -> the gradient tile, cast to the vectors' type inside. One of each per loss (the tile function's code), tile
shape, type and kind of mask: each gets code of its own, so that losses never exhaust one function's recompile limit.
Tiles of another shape (the last row or column of tiles) run eagerly. Where the compiler is missing or refuses, the pass
runs eagerly and a warning says so once.
"""

from __future__ import annotations

import functools
import types
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch

from dipole.core.relations import Relation
from dipole.pairwise.eager import add_products, add_tile, pull_tile
from dipole.pairwise.problem import Problem, assemble
from dipole.pairwise.reductions.base import Reduction, State

_kernels: dict[Any, Callable[..., Any]] = {}
_refused: set[Any] = set()
_worked: set[Any] = set()
runs = 0  # how many tiles ran fused in this process


class _Given:
    """A relation whose answer for this tile was looked up outside the compiled function."""

    offset = None
    graded = False

    def __init__(self, mask: torch.Tensor | None, weight: torch.Tensor | None) -> None:
        self.mask, self.weight = mask, weight

    def tile(self, rows: slice, cols: slice) -> torch.Tensor | None:
        return self.mask

    def weights(self, rows: slice, cols: slice) -> torch.Tensor | None:
        return self.mask.float() if self.weight is None and self.mask is not None else self.weight

    def count(self, rows: slice, n_cols: int) -> torch.Tensor:
        raise NotImplementedError

    def flipped(self) -> Relation:
        raise NotImplementedError

    def widened(self, more: int) -> Relation:
        raise NotImplementedError


def can_fuse(problem: Problem) -> bool:
    """Whether every reduction has a form the compiler can fuse and the scores are matrix products."""
    return all(r.fusible and not r.by for r in problem.wanted.values()) and any(s.kind == "left" for s in problem.layout)


def _prepare(problem: Problem, blocks: Sequence[torch.Tensor], rows: slice, cols: slice) -> tuple[Any, ...]:
    """All that a compiled function takes besides products: no Python number in it changes from tile to tile."""
    row_meta, col_meta = problem.metadata(rows, cols)
    relation = problem.pairs.positive
    listed = relation.weights(rows, cols) if relation.graded else None
    positive = (None if listed is None else listed > 0) if relation.graded else relation.tile(rows, cols)
    index = torch.arange(rows.start, rows.stop, device=blocks[0].device), torch.arange(cols.start, cols.stop, device=blocks[0].device)
    return row_meta, col_meta, positive, listed, problem.excluded(rows, cols, positive), index, problem.pairs.weighing


def _tile_terms(layout: Any, scores: Any, fn: Any, products: Any, blocks: Any, outside: Any) -> dict[str, torch.Tensor]:
    row_meta, col_meta, positive, listed, _, index, weighing = outside
    unknown: Any = (None, None)  # a place that changes from tile to tile would be frozen into the code
    tile = assemble(layout, scores, products, blocks, dict(row_meta), dict(col_meta), unknown, _Given(positive, listed), weighing, index)
    returned = fn(tile)
    shape = (index[0].shape[0], index[1].shape[0])
    return {"": returned.expand(shape)} if isinstance(returned, torch.Tensor) else {k: v.expand(shape) for k, v in returned.items()}


def _forward(layout: Any, scores: Any, wanted: Any, fn: Any, products: Any, blocks: Any, outside: Any) -> Any:
    terms = _tile_terms(layout, scores, fn, products, blocks, outside)
    keep = None if outside[4] is None else ~outside[4]
    return [r.partial(terms[r.of], keep) for r in wanted]


def _backward(
    layout: Any, scores: Any, wanted: Any, fn: Any, products: Any, blocks: Any, outside: Any, live: Any, grads: Any, results: Any, cast: Any
) -> Any:
    keep = None if outside[4] is None else ~outside[4]
    names = sorted({r.of for r in wanted})

    def named(products: Any, chosen: Any) -> tuple[torch.Tensor, ...]:
        mixed = list(blocks)
        for place, value in zip(live, chosen, strict=True):
            mixed[place] = value
        terms = _tile_terms(layout, scores, fn, products, mixed, outside)
        return tuple(terms[name] for name in names)

    vjp: Any = torch.func.vjp
    terms, back = vjp(named, products, tuple(blocks[i] for i in live))
    pulls = []
    for name, term in zip(names, terms, strict=True):
        total = torch.zeros_like(term)
        for r, grad, result in zip(wanted, grads, results, strict=True):
            if r.of == name:
                total = total + r.pull_here(grad, result, term, keep)
        pulls.append(total if keep is None else torch.where(keep, total, 0.0))
    of_products, of_blocks = back(tuple(pulls))  # one gradient tile a product, one gradient a live block
    return [g.to(kind) for g, kind in zip(of_products, cast, strict=True)], of_blocks


def _kernel(body: Callable[..., Any], key: Any) -> Callable[..., Any]:
    """``body`` compiled under code of its own, so that its cache is nobody else's."""
    if key not in _kernels:
        own = types.FunctionType(body.__code__.replace(co_name=f"{body.__name__}_{len(_kernels)}"), body.__globals__)
        _kernels[key] = torch.compile(own, fullgraph=True, dynamic=False)
    return _kernels[key]


def _identity(problem: Problem, products: Sequence[torch.Tensor], outside: Any, *more: Any) -> Any:
    fn: Any = problem.fn
    while isinstance(fn, functools.partial):
        fn = fn.func
    return (
        getattr(fn, "__code__", None) or (type(fn), type(fn).__call__),
        problem.layout,
        tuple(type(s) for s in problem.scores.values()),
        problem.pairs.weighing,
        tuple(problem.wanted.items()),
        tuple((p.shape, p.dtype, p.device) for p in products),
        tuple(x is None for x in outside[2:5]),
        *more,
    )


def _attempt(body: Callable[..., Any], key: Any, *args: Any) -> Any:
    """What the compiled function returns; None where it cannot be compiled."""
    if key in _refused:
        return None
    try:
        with warnings.catch_warnings():  # what the compiler deprecates inside itself is not the caller's concern
            warnings.simplefilter("ignore")
            done = _kernel(body, key)(*args)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # the compiler's errors share no class
        _refused.add(key)
        if key in _worked and "recompile" not in str(error):
            raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        warnings.warn(
            f"dipole: this tile function is not compiled ({reason}); it runs eagerly, slower, with the same results", stacklevel=2
        )
        return None
    global runs
    runs += 1
    _worked.add(key)
    return done


def add_tile_compiled(problem: Problem, tensors: Sequence[torch.Tensor], states: Sequence[State], rows: slice, cols: slice) -> None:
    """``add_tile`` with the arithmetic fused."""
    blocks = problem.cut(tensors, rows, cols)
    products = tuple(problem.products(blocks))
    outside = _prepare(problem, blocks, rows, cols)
    wanted = tuple(problem.wanted.values())
    key = ("forward", *_identity(problem, products, outside))
    parts = _attempt(_forward, key, problem.layout, dict(problem.scores), wanted, problem.fn, products, tuple(blocks), outside)
    if parts is None:
        add_tile(problem, tensors, states, rows, cols)
        return
    for reduction, state, part in zip(wanted, states, parts, strict=True):
        reduction.absorb(state, part, problem.spot_at(rows, cols, reduction))


def pull_tile_compiled(
    problem: Problem,
    tensors: Sequence[torch.Tensor],
    asked: Sequence[tuple[Reduction, torch.Tensor, State]],
    sums: Sequence[torch.Tensor | None],
    rows: slice,
    cols: slice,
) -> None:
    """``pull_tile`` with the arithmetic fused."""
    blocks = [b.detach() for b in problem.cut(tensors, rows, cols)]
    products = tuple(problem.products(blocks))
    outside = _prepare(problem, blocks, rows, cols)
    wanted = tuple(r for r, _, _ in asked)
    spots = [r.at(problem.spot_at(rows, cols, r)) for r in wanted]
    grads = tuple(g[at] for (_, g, _), at in zip(asked, spots, strict=True))
    results = tuple([x[at] for x in res] for (_, _, res), at in zip(asked, spots, strict=True))
    live = tuple(i for i, s in enumerate(problem.layout) if s.kind not in ("left", "right") and sums[i] is not None)
    lefts = [i for i, s in enumerate(problem.layout) if s.kind == "left"]
    cast = tuple(
        blocks[i].dtype if blocks[i].dtype == torch.bfloat16 and blocks[i].is_cuda else p.dtype
        for i, p in zip(lefts, products, strict=True)
    )
    key = ("backward", *_identity(problem, products, outside, wanted, live, cast))
    args = (problem.layout, dict(problem.scores), wanted, problem.fn, products, tuple(blocks), outside, live, grads, results, cast)
    found = _attempt(_backward, key, *args)
    if found is None:
        pull_tile(problem, tensors, asked, sums, rows, cols)
        return
    add_products(problem, sums, blocks, found[0], dict(zip(live, found[1], strict=True)), rows, cols)
