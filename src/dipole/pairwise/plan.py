"""How large a tile may be: what a tile costs, measured on small ones, against the bytes a pass may allocate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from dipole.core.errors import EngineError
from dipole.pairwise.problem import Problem

WORKSPACE_BYTES = 256 * 2**20
# Entries of a tile beyond which larger tiles gain nothing: on a CPU a tile and its gradient should stay near the cache.
_ENOUGH = {"cpu": 1024 * 1024, "cuda": 8192 * 4096}


@dataclass(frozen=True)
class Cost:
    """Bytes a tile of n x m needs: ``per_entry`` n m + ``per_line`` (n + m) + ``fixed``."""

    per_entry: float
    per_line: float
    fixed: float = 0.0

    def of(self, rows: int, cols: int) -> int:
        """Bytes of a tile of this shape."""
        return math.ceil(self.per_entry * rows * cols + self.per_line * (rows + cols) + self.fixed)


@dataclass(frozen=True)
class Plan:
    """The tiling of one pass. ``bytes`` bounds what the pass allocates at any moment beyond results and gradients."""

    tile_rows: int
    tile_cols: int
    bytes: int
    gradient_bytes: int = 0  # float32 gradients of both sides: the part that grows as batch x dim
    cost: Cost = Cost(0.0, 0.0)

    def __str__(self) -> str:
        return (
            f"tiles of {self.tile_rows} x {self.tile_cols}, workspace {self.bytes / 2**20:.1f} MiB, "
            f"gradients {self.gradient_bytes / 2**20:.1f} MiB"
        )


def plan(problem: Problem, tensors: list[torch.Tensor], workspace_bytes: int, cost: Cost, tile_side: int = 0) -> Plan:
    """The largest near-square tile within the bound, no longer on a side than ``tile_side`` where that is given.

    Raises EngineError where not even one entry fits.
    """
    n, m = problem.shape
    if cost.of(1, 1) > workspace_bytes:
        raise EngineError(
            f"workspace_bytes={workspace_bytes} cannot hold one entry of the score matrix, which needs {cost.of(1, 1)}; raise it"
        )
    kind = problem.pairs.device.type
    left = workspace_bytes - cost.fixed
    side = (-cost.per_line + math.sqrt(cost.per_line**2 + cost.per_entry * left)) / cost.per_entry
    side = max(1, int(min(side, tile_side or math.isqrt(_ENOUGH.get(kind, _ENOUGH["cuda"])))))
    enough = side * side
    cut = _even if kind == "cpu" else _round
    cols = cut(m, max(1, min(m, side)))
    rows = cut(n, _most(enough, cols, cost, left, n))
    cols = cut(m, _most(enough, rows, cost, left, m))
    gradients = sum(4 * t.numel() for t in tensors if t.requires_grad)
    return Plan(rows, cols, cost.of(rows, cols), gradients, cost)


def _round(length: int, most: int) -> int:
    """A tile side that does not change with ``length``, so that a compiler meets few shapes; the last tile is shorter."""
    return most if most == length or most < 256 else most // 256 * 256


def _most(enough: int, other: int, cost: Cost, workspace: float, length: int) -> int:
    """The longest side of a tile whose other side is given."""
    fits = (workspace - cost.per_line * other) / (cost.per_entry * other + cost.per_line)
    return max(1, min(length, enough // other, int(fits)))


def _even(length: int, most: int) -> int:
    """A tile side of at most ``most`` that cuts ``length`` into equal pieces rather than leaving a sliver."""
    return math.ceil(length / math.ceil(length / most))
