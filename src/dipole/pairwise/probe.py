"""What the engine finds out about a tile function before it runs it: what a tile costs, and whether its answer can be trusted.

On tiles of a few rows and columns the function is run whole and in pieces. It is refused where the pieces differ (it
mixes rows or columns, or is not deterministic) and where it reads a tensor that needs a gradient without being given it
as a parameter (the gradient would be lost). The cost of a tile is counted, not guessed: the bytes the engine allocates
for tiles of three shapes, split into a part per entry, a part per row and column, and a fixed part.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dipole.core.errors import EngineError
from dipole.core.relations import Relation
from dipole.pairwise.eager import add_tile, begin, pull_tile
from dipole.pairwise.plan import Cost
from dipole.pairwise.problem import Problem

_SIDE = 8
_known: dict[Any, Cost] = {}


def probe(problem: Problem, tensors: Sequence[torch.Tensor]) -> Cost:
    """Check the tile function; return what a tile costs, forward or backward, whichever is more, as an upper bound."""
    sample = [t.detach() for t in tensors]
    with torch.autocast(sample[0].device.type, enabled=False):
        planted = dataclasses.replace(
            problem, pairs=dataclasses.replace(problem.pairs, positive=_Planted(problem.pairs.positive, problem.pairs.device))
        )
        if torch.is_grad_enabled():
            _refuse_lost_gradients(problem, sample)
            _refuse_lost_gradients(planted, sample)
        key = _key(problem, tensors)
        if key is not None and key in _known:
            return _known[key]
        _refuse_mixing(problem, sample)
        cost = _cost(planted, sample)
    if key is not None:
        if len(_known) >= 512:
            _known.clear()
        _known[key] = cost
    return cost


class _Planted:
    """The relation with a positive in every tile, since tiles with one cost more and may read more than tiles without."""

    offset = None

    def __init__(self, real: Relation, device: torch.device) -> None:
        self.real, self.device, self.graded = real, device, real.graded

    def tile(self, rows: slice, cols: slice) -> torch.Tensor:
        found = self.real.tile(rows, cols)
        shape = rows.stop - rows.start, cols.stop - cols.start
        mask = torch.zeros(shape, dtype=torch.bool, device=self.device) if found is None else found.clone()
        mask[0, 0] = True
        return mask

    def weights(self, rows: slice, cols: slice) -> torch.Tensor:
        return self.tile(rows, cols).float()

    def count(self, rows: slice, n_cols: int) -> torch.Tensor:
        return self.real.count(rows, n_cols)

    def flipped(self) -> Relation:
        return self.real.flipped()

    def widened(self, more: int) -> Relation:
        return self.real.widened(more)


def _key(problem: Problem, tensors: Sequence[torch.Tensor]) -> Any:
    """All that the cost depends on; None where that cannot be told, and the cost is then counted anew each time."""
    relations = (problem.pairs.positive, *problem.pairs.excluded, *problem.pairs.duplicates)
    meta = [(name, t.dtype, t.shape[1:]) for side in (problem.pairs.rows, problem.pairs.cols) for name, t in side.items()]
    known = _signature((problem.fn, dict(problem.scores)))
    if known is None:
        return None
    return (
        known,
        problem.layout,
        problem.pairs.weighing,
        tuple((t.dtype, t.shape if s.kind == "param" else t.shape[1:], t.device) for s, t in zip(problem.layout, tensors, strict=True)),
        tuple(meta),
        tuple(problem.wanted.items()),
        tuple(problem.segments.items()),
        tuple(type(r) for r in relations),
        tuple(min(side, 2 * _SIDE) for side in problem.shape),
    )


def _signature(thing: Any) -> Any:
    """What a function and the things it closes over look like, without holding on to them; None for what is not understood."""
    if thing is None or isinstance(thing, (bool, int, str, float)):
        return thing
    if isinstance(thing, torch.Tensor):
        return "tensor", thing.dtype, thing.shape
    if isinstance(thing, torch.nn.Module):
        return type(thing), tuple(p.shape for p in thing.parameters())
    if isinstance(thing, types.FunctionType):
        held = [cell.cell_contents for cell in thing.__closure__ or ()]
        inside = _signature((tuple(held), thing.__defaults__, thing.__kwdefaults__))
        return None if inside is None else (thing.__code__, inside)
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        inside = _signature(tuple(getattr(thing, f.name) for f in dataclasses.fields(thing)))
        return None if inside is None else (type(thing), inside)
    if isinstance(thing, dict):
        thing = tuple(thing.items())
    if isinstance(thing, (tuple, list)):
        parts = tuple(() if x is None else _signature(x) for x in thing)
        return None if None in parts else parts
    return None


def _corner(problem: Problem, rows: int, cols: int) -> tuple[slice, slice]:
    r, c = problem.rows, problem.cols
    return slice(r.start, min(r.start + rows, r.stop)), slice(c.start, min(c.start + cols, c.stop))


def _evaluate(problem: Problem, tensors: Sequence[torch.Tensor], rows: slice, cols: slice) -> dict[str, torch.Tensor]:
    blocks = problem.cut(tensors, rows, cols)
    return problem.terms(problem.tile(problem.products(blocks), blocks, rows, cols))


def _refuse_mixing(problem: Problem, tensors: Sequence[torch.Tensor]) -> None:
    rows, cols = _corner(problem, _SIDE, _SIDE)
    middle = (rows.start + rows.stop + 1) // 2, (cols.start + cols.stop + 1) // 2
    pieces = [
        (slice(rows.start, middle[0]), cols, "rows"),
        (slice(middle[0], rows.stop), cols, "rows"),
        (rows, slice(cols.start, middle[1]), "columns"),
        (rows, slice(middle[1], cols.stop), "columns"),
    ]
    with torch.no_grad():
        whole = _evaluate(problem, tensors, rows, cols)
        for at_rows, at_cols, what in pieces:
            if at_rows.start == at_rows.stop or at_cols.start == at_cols.stop:
                continue
            for name, term in _evaluate(problem, tensors, at_rows, at_cols).items():
                same = whole[name][at_rows.start - rows.start :, at_cols.start - cols.start :][: term.shape[0], : term.shape[1]]
                if not torch.allclose(term.double(), same.double(), rtol=1e-3, atol=1e-5, equal_nan=True):
                    raise EngineError(
                        f"the tile function mixes {what}: an entry's value changed when other {what} were left out of the tile "
                        f"(by {float((term.double() - same.double()).abs().max()):.3g}), so it cannot be computed in pieces. "
                        "Return one value per entry from that entry alone; put sums, means and softmaxes into reductions "
                        "(wrong: tile.scores.softmax(1); right: tile.scores, reduced with LogSumExp('rows')). "
                        "A function that draws random numbers is refused for the same reason."
                    )


def _refuse_lost_gradients(problem: Problem, tensors: Sequence[torch.Tensor]) -> None:
    rows, cols = _corner(problem, 2, 2)
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
    """Bytes per entry, per row or column, and fixed, from three shapes of tile."""
    floor = sum(r.entry_bytes for r in problem.wanted.values())
    rows, cols = _corner(problem, 2 * _SIDE, 2 * _SIDE)
    large = _bytes(problem, tensors, rows, cols)
    n, m = rows.stop - rows.start, cols.stop - cols.start
    if n < 2 * _SIDE or m < 2 * _SIDE:
        return Cost(large / (n * m) + floor, 0.0)
    small, oblong = (_bytes(problem, tensors, *_corner(problem, _SIDE, side)) for side in (_SIDE, 2 * _SIDE))
    per_entry = max((large - small - 2 * (oblong - small)) / (_SIDE * _SIDE), 8.0)
    per_line = max((oblong - small - per_entry * _SIDE * _SIDE) / _SIDE, 0.0)
    return Cost(per_entry + floor, per_line, max(large - per_entry * n * m - per_line * (n + m), 0.0))


def _bytes(problem: Problem, tensors: Sequence[torch.Tensor], rows: slice, cols: slice) -> int:
    part = problem.over(rows, cols, problem.wanted)
    states = begin(part, tensors)
    with torch.no_grad():
        forward = count_bytes(lambda: add_tile(part, tensors, states, rows, cols))
    results = [list(r.end(s)) for r, s in zip(part.wanted.values(), states, strict=True)]
    asked = [(r, torch.ones_like(res[0]), res) for r, res in zip(part.wanted.values(), results, strict=True) if r.differentiable]
    if not asked:
        return forward
    kinds = [torch.float64 if t.dtype == torch.float64 else torch.float32 for t in tensors]
    sums = [torch.zeros_like(t, dtype=kind) if t.is_floating_point() else None for t, kind in zip(tensors, kinds, strict=True)]
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
