"""What a reduction is: a running state over tiles, a result, and the gradient it sends back into a tile.

The engine calls, per pass: ``begin`` once, ``add`` for every tile, ``end`` once; and in backward ``pull`` for every
tile. ``dense`` is the same number from the whole matrix in ordinary PyTorch: the oracle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from dipole.core.errors import EngineError

AXES = ("rows", "cols", "total")
State = list[torch.Tensor]


@dataclass(frozen=True)
class Spot:
    """Where a tile lies: its place in the state, and the segment of each entry of the reduced axis (or None)."""

    rows: slice  # of the pass, starting at 0
    cols: slice
    col_ids: slice  # of the whole problem, for reporting column ids
    row_ids: slice
    segments: torch.Tensor | None = None  # (m,) for axis rows, (n,) for axis cols


@dataclass(frozen=True)
class Reduction:
    """A statistic of the terms: ``axis`` rows (one value a row), cols, or total.

    ``of`` names the term where the tile function returns several. ``by`` names integer metadata of the reduced axis
    (columns for rows, rows for cols), 0 to S - 1, and splits the value: (N, S) instead of (N,).
    """

    axis: str = "rows"
    of: str = ""
    by: str = ""

    differentiable: ClassVar[bool] = True
    splittable: ClassVar[bool] = True
    entry_bytes: ClassVar[int] = 0  # of a tile, that only some data make it need
    fusible: ClassVar[bool] = False  # has ``partial``, ``absorb`` and ``pull_here``, which a compiler may fuse

    def __post_init__(self) -> None:
        if self.axis not in AXES:
            raise EngineError(f"{type(self).__name__}: axis must be one of {', '.join(AXES)}, got {self.axis!r}")
        if self.by and (self.axis == "total" or not self.splittable):
            raise EngineError(
                f"{type(self).__name__}: 'by' is not defined here; reduce per row or per column with sum, mean, count or logsumexp"
            )

    # -- geometry, the same for all ------------------------------------------------------------------------------------

    @property
    def dim(self) -> tuple[int, ...]:
        """The tile dimensions that vanish."""
        return {"rows": (1,), "cols": (0,), "total": (0, 1)}[self.axis]

    def at(self, spot: Spot) -> slice:
        """Where the tile's results go in the state."""
        return {"rows": spot.rows, "cols": spot.cols, "total": slice(0, 1)}[self.axis]

    def length(self, n: int, m: int) -> int:
        return {"rows": n, "cols": m, "total": 1}[self.axis]

    def fold(self, tile: torch.Tensor) -> torch.Tensor:
        """(n, m) -> sum over the vanishing dimensions, as the state is laid out."""
        return tile.sum(self.dim).reshape(-1)

    def number(self, term: torch.Tensor, keep: torch.Tensor | None) -> torch.Tensor:
        """How many of the tile's entries count, as the state is laid out, int64."""
        if keep is not None:
            return self.fold(keep.long())
        return torch.ones((), dtype=torch.int64, device=term.device).expand(term.shape).sum(self.dim).reshape(-1)

    def spread(self, values: torch.Tensor) -> torch.Tensor:
        """State-shaped values of a tile -> broadcastable over the (n, m) tile."""
        return {"rows": values[:, None], "cols": values[None, :], "total": values[:, None]}[self.axis]

    def split(self, tile: torch.Tensor, segments: torch.Tensor, count: int) -> torch.Tensor:
        """(n, m) -> (n, S) or (m, S): sums per segment of the vanishing dimension."""
        lines = tile if self.axis == "rows" else tile.T
        return lines.new_zeros(lines.shape[0], count).index_add_(1, segments, lines)

    def unsplit(self, values: torch.Tensor, segments: torch.Tensor) -> torch.Tensor:
        """(n, S) -> (n, m), or (m, S) -> (n, m): each entry gets its segment's value."""
        return values[:, segments] if self.axis == "rows" else values[:, segments].T

    # -- what each kind defines ----------------------------------------------------------------------------------------

    def begin(self, length: int, segments: int, like: torch.Tensor) -> State:
        raise NotImplementedError

    def add(self, state: State, term: torch.Tensor, keep: torch.Tensor | None, spot: Spot) -> None:
        raise NotImplementedError

    def end(self, state: State) -> tuple[torch.Tensor, ...]:
        """The results; only the first carries a gradient, and only where ``differentiable``."""
        return tuple(state)

    def pull(self, grad: torch.Tensor, results: State, term: torch.Tensor, keep: torch.Tensor | None, spot: Spot) -> torch.Tensor:
        """Gradient of the loss in the tile's term, (n, m) or broadcastable to it; masked entries are zeroed later."""
        raise NotImplementedError

    def partial(self, term: torch.Tensor, keep: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        """The tile's own results, in plain tensor arithmetic."""
        raise NotImplementedError

    def absorb(self, state: State, parts: tuple[torch.Tensor, ...], spot: Spot) -> None:
        """Update the running state with a tile's ``partial``."""
        raise NotImplementedError

    def pull_here(self, grad: torch.Tensor, results: State, term: torch.Tensor, keep: torch.Tensor | None) -> torch.Tensor:
        """``pull`` with the gradient and results already cut to the tile."""
        raise NotImplementedError

    def dense(self, term: torch.Tensor, keep: torch.Tensor, segments: torch.Tensor | None, count: int) -> Any:
        """The same results from the whole (N, M) matrix, by autograd-able PyTorch."""
        raise NotImplementedError


def masked(term: torch.Tensor, keep: torch.Tensor | None, value: float) -> torch.Tensor:
    """The term with the entries that do not count replaced."""
    return term if keep is None else term.masked_fill(~keep, value)
