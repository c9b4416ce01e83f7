"""What the engine finds out about a tile function before it runs it: its bytes, and whether its answer can be trusted.

On a tile of a few rows and columns the function is run whole and in pieces. It is refused where the pieces differ (it
mixes rows or columns, or is not deterministic) and where it reads a tensor that needs a gradient without being given it
as a parameter (the gradient would be lost).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dipole.core.errors import EngineError
from dipole.pairwise.plan import count_bytes
from dipole.pairwise.problem import Problem

_ROWS, _COLS = 6, 7


def probe(problem: Problem, tensors: Sequence[torch.Tensor]) -> float:
    """Check the tile function; return the bytes one entry of a tile costs, forward and backward, upper bound."""
    rows = slice(problem.rows.start, min(problem.rows.start + _ROWS, problem.rows.stop))
    cols = slice(problem.cols.start, min(problem.cols.start + _COLS, problem.cols.stop))
    sample = [t.detach() for t in tensors]
    _same_in_pieces(problem, sample, rows, cols)
    entries = (rows.stop - rows.start) * (cols.stop - cols.start)
    return count_bytes(lambda: _forward_and_back(problem, sample, rows, cols)) / entries


def _evaluate(problem: Problem, tensors: Sequence[torch.Tensor], rows: slice, cols: slice) -> dict[str, torch.Tensor]:
    blocks = problem.cut(tensors, rows, cols)
    return problem.terms(problem.tile(problem.products(blocks), blocks, rows, cols))


def _same_in_pieces(problem: Problem, tensors: Sequence[torch.Tensor], rows: slice, cols: slice) -> None:
    with torch.no_grad():
        whole = _evaluate(problem, tensors, rows, cols)
        top = slice(rows.start, (rows.start + rows.stop + 1) // 2)
        left = slice(cols.start, (cols.start + cols.stop + 1) // 2)
        for at, what in ((((top), cols), "rows"), ((rows, left), "columns")):
            piece = _evaluate(problem, tensors, *at)
            for name, term in piece.items():
                same = whole[name][: term.shape[0], : term.shape[1]]
                if not torch.allclose(term.double(), same.double(), rtol=1e-3, atol=1e-5, equal_nan=True):
                    raise EngineError(
                        f"the tile function mixes {what}: an entry's value changed when other {what} were left out of the tile "
                        f"(by {float((term.double() - same.double()).abs().max()):.3g}), so it cannot be computed in pieces. "
                        "Return one value per entry from that entry alone; put sums, means and softmaxes into reductions "
                        "(wrong: tile.scores.softmax(1); right: tile.scores, reduced with LogSumExp('rows')). "
                        "A function that draws random numbers is refused for the same reason."
                    )


def _forward_and_back(problem: Problem, tensors: Sequence[torch.Tensor], rows: slice, cols: slice) -> None:
    """One tile as backward treats it, to count its bytes, and the search for gradients that would be lost."""
    with torch.enable_grad():
        blocks = [b.detach().requires_grad_(b.is_floating_point()) for b in problem.cut(tensors, rows, cols)]
        products = [p.detach().requires_grad_() for p in problem.products([b.detach() for b in blocks])]
        terms = [t for t in problem.terms(problem.tile(products, blocks, rows, cols)).values() if t.requires_grad]
        known = {id(t) for t in (*blocks, *products)}
        for term in terms:
            _refuse_strangers(term, known)
        leaves = [t for t in (*products, *blocks) if t.requires_grad]
        if terms:
            upstream = [torch.ones_like(t).mul_(0.5).exp_() for t in terms]
            torch.autograd.grad(terms, leaves, upstream, allow_unused=True)


def _refuse_strangers(term: torch.Tensor, known: set[int]) -> None:
    waiting, seen = [term.grad_fn], set()
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
