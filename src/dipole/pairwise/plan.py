"""How large a tile may be: the bytes a tile costs, measured on a small one, against the bytes a pass may allocate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dipole.core.errors import EngineError
from dipole.pairwise.problem import Problem

WORKSPACE_BYTES = 256 * 2**20
# Entries of a tile beyond which larger tiles gain nothing: on a CPU a tile and its gradient should stay near the cache.
_ENOUGH = {"cpu": 1024 * 1024, "cuda": 8192 * 4096}


@dataclass(frozen=True)
class Plan:
    """The tiling of one pass. ``bytes`` bounds what the pass allocates at any moment beyond results and gradients."""

    tile_rows: int
    tile_cols: int
    bytes_per_entry: float
    bytes: int
    gradient_bytes: int  # float32 gradients of both sides: the part that grows as batch x dim

    def __str__(self) -> str:
        return (
            f"tiles of {self.tile_rows} x {self.tile_cols}, workspace {self.bytes / 2**20:.1f} MiB, "
            f"gradients {self.gradient_bytes / 2**20:.1f} MiB"
        )


def plan(problem: Problem, tensors: list[torch.Tensor], workspace_bytes: int, bytes_per_entry: float) -> Plan:
    """The largest near-square tile within the bound.

    Raises EngineError where not even one entry fits.
    """
    n, m = problem.shape
    allowed = int(workspace_bytes / bytes_per_entry)
    if allowed < 1:
        raise EngineError(
            f"workspace_bytes={workspace_bytes} cannot hold one entry of the score matrix, which needs {bytes_per_entry:.0f}; raise it"
        )
    enough = min(allowed, _ENOUGH.get(problem.pairs.device.type, _ENOUGH["cuda"]))
    side = math.isqrt(enough)
    cols = _even(m, max(1, min(m, side)))
    rows = _even(n, max(1, min(n, enough // cols)))
    cols = _even(m, max(1, min(m, enough // rows)))
    gradients = sum(4 * t.numel() for t in tensors if t.requires_grad)
    return Plan(rows, cols, bytes_per_entry, math.ceil(rows * cols * bytes_per_entry), gradients)


def _even(length: int, most: int) -> int:
    """A tile side of at most ``most`` that cuts ``length`` into equal pieces rather than leaving a sliver."""
    return math.ceil(length / math.ceil(length / most))


class _Allocations(TorchDispatchMode):
    """Adds up the bytes of every new storage that operations return."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        held = {t.untyped_storage().data_ptr() for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        out = func(*args, **(kwargs or {}))
        for t in tree_leaves(out):
            if isinstance(t, torch.Tensor) and t.untyped_storage().data_ptr() not in held:
                self.bytes += t.untyped_storage().nbytes()
        return out


def count_bytes(work: Any) -> int:
    """Bytes of all new storages while ``work()`` runs: more than it holds at once, never less."""
    with _Allocations() as counted:
        work()
    return counted.bytes
