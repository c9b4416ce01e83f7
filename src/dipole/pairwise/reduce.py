"""``reduce``: the engine's front door. Any reductions of any tile function over any pairs, without the matrix.

>>> import torch
>>> from dipole import Pairs
>>> q = torch.eye(3)
>>> stats = reduce(lambda tile: tile.scores / 0.5, Pairs.aligned(q, q), rows=LogSumExp("rows"), best=Max("cols"))
>>> stats.rows, stats.best
(tensor([2.2395, 2.2395, 2.2395]), tensor([2., 2., 2.]))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import torch

from dipole.core.errors import EngineError
from dipole.core.pairs import Pairs
from dipole.core.scores import Channel
from dipole.core.vectors import leading, wide
from dipole.pairwise.compiled import can_fuse
from dipole.pairwise.dense import dense
from dipole.pairwise.eager import eager
from dipole.pairwise.plan import WORKSPACE_BYTES, Cost, Plan, plan
from dipole.pairwise.probe import probe
from dipole.pairwise.problem import Problem, build
from dipole.pairwise.reductions import LogMeanExp, LogSumExp, Max, Mean, Reduction, Sum, Top, TopK
from dipole.pairwise.ring import ring
from dipole.pairwise.tile import Tile, TileFunction

BACKENDS = ("auto", "dense", "eager", "compiled")
# Below this many entries the whole matrix costs less than the bookkeeping of tiles.
TINY = 128 * 128


_chosen: ContextVar[tuple[str, int]] = ContextVar("pairwise backend and tile side", default=("auto", 0))


@contextmanager
def using(backend: str, tile_side: int = 0) -> Iterator[None]:
    """Within the block every ``reduce`` whose backend is ``auto`` uses this one: to compare backends on a whole loss.

    ``tile_side``: no tile is longer on a side, so that a small batch makes several; 0: as the workspace allows.

    >>> with using("dense"):
    ...     reduce(lambda tile: tile.scores, Pairs.aligned(torch.eye(2), torch.eye(2)), best=Max("rows")).best
    tensor([1., 1.])
    """
    _known_backend(backend)
    token = _chosen.set((backend, tile_side))
    try:
        yield
    finally:
        _chosen.reset(token)


def _known_backend(backend: str) -> None:
    if backend not in BACKENDS:
        raise EngineError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")


def reduce(
    fn: TileFunction,
    pairs: Pairs,
    *,
    params: Mapping[str, torch.Tensor] | None = None,
    channels: Mapping[str, Channel] | None = None,
    workspace_bytes: int = WORKSPACE_BYTES,
    backend: str = "auto",
    **wanted: Reduction,
) -> SimpleNamespace:
    """Run ``fn`` over all tiles once and return every wanted reduction as an attribute of the answer.

    ``fn(tile)`` returns one (n, m) term or a mapping of them. ``params`` are tensors ``fn`` reads as
    ``tile.params[name]`` and that may need gradients. ``channels`` are further scores over the same rows and columns, besides
    those of ``pairs``.
    ``workspace_bytes`` bounds what the pass allocates beyond results and gradients. ``backend`` is ``dense`` (the whole
    matrix), ``eager``, ``compiled`` (tile arithmetic fused), or ``auto``: dense where the matrix is tiny, compiled for
    several tiles on a GPU, eager otherwise.

    Shapes: ``rows`` reductions (N,) for the pairs' own rows, ``cols`` (M,) for their own columns, ``total`` a scalar.
    Raises EngineError for a tile function that cannot be computed in pieces.
    """
    _known_backend(backend)
    chosen, tile_side = _chosen.get()
    backend = chosen if backend == "auto" else backend
    if not wanted:
        raise EngineError("nothing to reduce: name at least one reduction, for example total=Sum('total')")
    problem, tensors = build(fn, pairs, wanted, params or {}, channels or {})
    cost = probe(problem, tensors)
    results: dict[str, Any] = {}
    if pairs.ring is not None:
        results = ring(problem, tensors, plan(problem, tensors, workspace_bytes, cost, tile_side))
        return SimpleNamespace(**{name: results[name][0] if r.axis == "total" else results[name] for name, r in wanted.items()})
    for part in _passes(problem):
        results |= _run(part, tensors, backend, workspace_bytes, cost, tile_side)
    for name, reduction in wanted.items():
        if reduction.axis == "total" and not isinstance(results[name], Top):
            results[name] = results[name][0]
    return SimpleNamespace(**{name: results[name] for name in wanted})


def estimate(
    fn: TileFunction,
    pairs: Pairs,
    *,
    params: Mapping[str, torch.Tensor] | None = None,
    channels: Mapping[str, Channel] | None = None,
    workspace_bytes: int = WORKSPACE_BYTES,
    **wanted: Reduction,
) -> Plan:
    """What ``reduce`` with the same arguments would allocate, without running it."""
    problem, tensors = build(fn, pairs, wanted, params or {}, channels or {})
    return plan(problem, tensors, workspace_bytes, probe(problem, tensors))


def _passes(problem: Problem) -> list[Problem]:
    """One pass over everything; or, where vectors were gathered from other processes, one per axis over the own part.

    A process then computes the row statistics of its own rows over all columns, the column statistics of its own
    columns over all rows, and totals over everything.
    """
    if problem.pairs.local is None:
        return [problem]
    own_rows, own_cols = problem.pairs.local
    areas = {"rows": (own_rows, problem.cols), "cols": (problem.rows, own_cols), "total": (problem.rows, problem.cols)}
    parts = []
    for axis, (rows, cols) in areas.items():
        wanted = {name: r for name, r in problem.wanted.items() if r.axis == axis}
        if wanted:
            parts.append(problem.over(rows, cols, wanted))
    return parts


def _run(problem: Problem, tensors: list[torch.Tensor], backend: str, workspace_bytes: int, cost: Cost, tile_side: int) -> dict[str, Any]:
    n, m = problem.shape
    if backend == "dense" or (backend == "auto" and n * m <= TINY and cost.of(n, m) <= workspace_bytes):
        with torch.autocast(tensors[0].device.type, enabled=False):
            return dense(problem, tensors)
    planned = plan(problem, tensors, workspace_bytes, cost, tile_side)
    on_gpu = tensors[0].is_cuda and planned.tile_rows < n
    compiled = backend == "compiled" or (backend == "auto" and on_gpu)
    return eager(problem, tensors, planned, compiled and can_fuse(problem))


def _one(fn: TileFunction, pairs: Pairs, reduction: Reduction, params: Mapping[str, torch.Tensor] | None) -> Any:
    return reduce(fn, pairs, params=params, it=reduction).it


def logsumexp_rows(fn: TileFunction, pairs: Pairs, params: Mapping[str, torch.Tensor] | None = None) -> torch.Tensor:
    """(N,) log sum exp of each row's entries."""
    return _one(fn, pairs, LogSumExp("rows"), params)  # type: ignore[no-any-return]


def logsumexp_negatives(pairs: Pairs, temperature: float = 1.0) -> torch.Tensor:
    """(N,) log of what repels each row: the sum over its negatives of weight times exp(score / temperature); -inf without any.

    The temperature may change from step to step; one compiled function serves all.
    """
    vectors = leading(pairs.queries)
    now = torch.full((), temperature, dtype=wide(vectors[:0]).dtype, device=vectors.device)
    return logsumexp_rows(_negatives, pairs, {"temperature": now})


def _negatives(tile: Tile) -> torch.Tensor:
    return tile.fill_positive(tile.logits(tile.params["temperature"]), -torch.inf)


def sum_rows(fn: TileFunction, pairs: Pairs, params: Mapping[str, torch.Tensor] | None = None) -> torch.Tensor:
    """(N,) sum of each row's entries."""
    return _one(fn, pairs, Sum("rows"), params)  # type: ignore[no-any-return]


def mean_rows(fn: TileFunction, pairs: Pairs, params: Mapping[str, torch.Tensor] | None = None) -> torch.Tensor:
    """(N,) mean of each row's entries that count."""
    return _one(fn, pairs, Mean("rows"), params)  # type: ignore[no-any-return]


def max_rows(fn: TileFunction, pairs: Pairs, params: Mapping[str, torch.Tensor] | None = None) -> torch.Tensor:
    """(N,) largest of each row's entries."""
    return _one(fn, pairs, Max("rows"), params)  # type: ignore[no-any-return]


def topk_rows(fn: TileFunction, pairs: Pairs, k: int) -> Top:
    """The k largest of each row with their column ids, (N, k) each."""
    return _one(fn, pairs, TopK("rows", k=k), None)  # type: ignore[no-any-return]


def logmeanexp_total(fn: TileFunction, pairs: Pairs, params: Mapping[str, torch.Tensor] | None = None) -> torch.Tensor:
    """Scalar log of the mean of exp over all entries that count."""
    return _one(fn, pairs, LogMeanExp("total"), params)  # type: ignore[no-any-return]
