"""What the engine finds out about a tile function before it runs it: what a tile costs, and whether its answer can be trusted.

On tiles of a few rows and columns the function is run whole and in pieces. It is refused where the pieces differ (it
mixes rows or columns, or is not deterministic) and where it reads a tensor that needs a gradient without being given it
as a parameter (the gradient would be lost). The cost of a tile is counted, not guessed: the bytes the engine allocates
for a tile of two sizes, split into a part per entry and a part per row and column.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dipole.core.errors import EngineError
from dipole.pairwise.eager import add_tile, begin, pull_tile
from dipole.pairwise.plan import Cost
from dipole.pairwise.problem import Problem

_SIDE = 8
_known: dict[Any, Cost] = {}


def probe(problem: Problem, tensors: Sequence[torch.Tensor]) -> Cost:
    """Check the tile function; return what a tile costs, forward or backward, whichever is more, as an upper bound."""
    sample = [t.detach() for t in tensors]
    _refuse_lost_gradients(problem, sample)
    key = _key(problem, tensors)
    if key is None or key not in _known:
        _refuse_mixing(problem, sample)
        cost = _cost(problem, sample)
        if key is None:
            return cost
        if len(_known) >= 512:
            _known.clear()
        _known[key] = cost
    return _known[key]


def _key(problem: Problem, tensors: Sequence[torch.Tensor]) -> Any:
    """What the cost depends on; None for functions that cannot be told apart."""
    code = getattr(problem.fn, "__code__", None)
    if code is None:
        return None
    relations = (problem.pairs.positive, *problem.pairs.excluded, *problem.pairs.duplicates)
    return (
        code,
        problem.layout,
        tuple((t.dtype, t.shape[1:], t.device) for t in tensors),
        tuple(problem.wanted.items()),
        tuple(type(r) for r in relations),
        tuple(type(s) for s in problem.scores.values()),
        tuple(min(side, 2 * _SIDE) for side in problem.shape),
    )


def _corner(problem: Problem, side: int) -> tuple[slice, slice]:
    rows, cols = problem.rows, problem.cols
    return slice(rows.start, min(rows.start + side, rows.stop)), slice(cols.start, min(cols.start + side, cols.stop))


def _evaluate(problem: Problem, tensors: Sequence[torch.Tensor], rows: slice, cols: slice) -> dict[str, torch.Tensor]:
    blocks = problem.cut(tensors, rows, cols)
    return problem.terms(problem.tile(problem.products(blocks), blocks, rows, cols))


def _refuse_mixing(problem: Problem, tensors: Sequence[torch.Tensor]) -> None:
    rows, cols = _corner(problem, _SIDE)
    with torch.no_grad():
        whole = _evaluate(problem, tensors, rows, cols)
        top = slice(rows.start, (rows.start + rows.stop + 1) // 2)
        left = slice(cols.start, (cols.start + cols.stop + 1) // 2)
        for at, what in (((top, cols), "rows"), ((rows, left), "columns")):
            for name, term in _evaluate(problem, tensors, *at).items():
                same = whole[name][: term.shape[0], : term.shape[1]]
                if not torch.allclose(term.double(), same.double(), rtol=1e-3, atol=1e-5, equal_nan=True):
                    raise EngineError(
                        f"the tile function mixes {what}: an entry's value changed when other {what} were left out of the tile "
                        f"(by {float((term.double() - same.double()).abs().max()):.3g}), so it cannot be computed in pieces. "
                        "Return one value per entry from that entry alone; put sums, means and softmaxes into reductions "
                        "(wrong: tile.scores.softmax(1); right: tile.scores, reduced with LogSumExp('rows')). "
                        "A function that draws random numbers is refused for the same reason."
                    )


def _refuse_lost_gradients(problem: Problem, tensors: Sequence[torch.Tensor]) -> None:
    rows, cols = _corner(problem, 2)
    with torch.enable_grad():
        blocks = [b.detach().requires_grad_(b.is_floating_point()) for b in problem.cut(tensors, rows, cols)]
        products = [p.requires_grad_() for p in problem.products([b.detach() for b in blocks])]
        terms = problem.terms(problem.tile(products, blocks, rows, cols))
    known = {id(t) for t in (*blocks, *products)}
    waiting: list[Any] = [t.grad_fn for t in terms.values()]
    seen = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if variable is not None and id(variable) not in known:
            raise EngineError(
                f"the tile function reads a tensor of shape {tuple(variable.shape)} that needs a gradient without being given it, so its "
                "gradient would be lost; pass it on: reduce(fn, pairs, params={'name': tensor}, ...) and read tile.params['name']"
            )
        waiting.extend(parent for parent, _ in node.next_functions)


def _cost(problem: Problem, tensors: Sequence[torch.Tensor]) -> Cost:
    """Bytes per entry and per row or column, from two sizes of tile."""
    small, large = _corner(problem, _SIDE), _corner(problem, 2 * _SIDE)
    n, m = large[0].stop - large[0].start, large[1].stop - large[1].start
    of_large = _bytes(problem, tensors, *large)
    if n < 2 * _SIDE or m < 2 * _SIDE:
        return Cost(of_large / (n * m), 0.0)
    of_small = _bytes(problem, tensors, *small)
    per_entry = max((of_large - 2 * of_small) / (2 * _SIDE * _SIDE), 8.0)
    return Cost(per_entry, max((of_small - per_entry * _SIDE * _SIDE) / (2 * _SIDE), 0.0))


def _bytes(problem: Problem, tensors: Sequence[torch.Tensor], rows: slice, cols: slice) -> int:
    part = problem.over(rows, cols, problem.wanted)
    states = begin(part, tensors)
    with torch.no_grad():
        forward = count_bytes(lambda: add_tile(part, tensors, states, rows, cols))
    results = [list(r.end(s)) for r, s in zip(part.wanted.values(), states, strict=True)]
    asked = [(r, torch.ones_like(res[0]), res) for r, res in zip(part.wanted.values(), results, strict=True) if r.differentiable]
    if not asked:
        return forward
    sums = [
        torch.zeros_like(t, dtype=torch.float64 if t.dtype == torch.float64 else torch.float32) if t.is_floating_point() else None
        for t in tensors
    ]
    with torch.no_grad():
        backward = count_bytes(lambda: pull_tile(part, tensors, asked, sums, rows, cols))
    return max(forward, backward)


class _Allocations(TorchDispatchMode):
    """Adds up the bytes of every new storage that operations return."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        held = {t.untyped_storage().data_ptr() for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        out = func(*args, **(kwargs or {}))
        for t in tree_leaves(out):
            if isinstance(t, torch.Tensor) and t.untyped_storage().data_ptr() not in held:
                self.bytes += t.untyped_storage().nbytes()
        return out


def count_bytes(work: Callable[[], object]) -> int:
    """Bytes of all new storages while ``work()`` runs: more than it holds at once, never less."""
    with _Allocations() as counted:
        work()
    total: int = counted.bytes
    return total
