"""The approximate index of a collection: built by Lance, judged against the exact answer, and used only as good as asked."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dipole.core.errors import UnknownNameError, UsageError
from dipole.core.extras import need
from dipole.search import nearest
from dipole.search import table as tables

KINDS = {"ivf-sq": "IvfSq", "ivf-pq": "IvfPq", "ivf-rq": "IvfRq", "ivf-flat": "IvfFlat", "ivf-hnsw-sq": "HnswSq"}
_LEAST = 1000  # below this many vectors the exact answer is as quick
_PROBES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
REFINE = 4


@dataclass(frozen=True)
class Built:
    """What an index is and does. ``recall`` at k = 10 against the exact answer, over ``queries`` stored vectors that were
    perturbed, at ``probes`` of ``cells`` cells, where ``wanted`` was asked; ``seconds`` of building, ``milliseconds`` of a
    query, median.
    """

    kind: str
    cells: int
    probes: int
    refine: int
    recall: float
    wanted: float
    queries: int
    seconds: float
    milliseconds: float

    @property
    def text(self) -> str:
        """In one line."""
        answer = f"recall@10 {self.recall:.3f} over {self.queries} queries, {self.milliseconds:.1f} ms a query (median)"
        return f"{self.kind}, {self.probes} of {self.cells} cells: {answer}; built in {self.seconds:.0f} s"


def build(
    folder: Path, table: Any, rows: int, kind: str, recall: float, queries: int, told: Callable[[str], None] = lambda text: None
) -> Built:
    """Build the index, then look into more and more cells until recall@10 is ``recall``.

    The test queries are stored vectors with noise of a tenth of their length, so that none is its own answer alone.
    Raises UsageError where there are too few vectors, or where no number of cells reaches the recall.
    """
    if kind not in KINDS:
        raise UnknownNameError("kind of index", kind, KINDS)
    if rows < _LEAST:
        raise UsageError(f"{folder}: {rows} vectors are answered exactly at once; an index pays from {_LEAST} on")
    cells = max(1, min(4096, round(math.sqrt(rows))))
    made = getattr(need("lancedb.index", "search", "an approximate index"), KINDS[kind])
    told(f"building {kind} with {cells} cells over {rows} vectors")
    began = time.perf_counter()
    table.create_index("vector", config=made(distance_type="dot", num_partitions=cells), replace=True)
    seconds = time.perf_counter() - began
    asked = _queries(table, rows, queries)
    exact = [{row for _, row in ranking} for ranking in nearest.exactly(folder, table, asked, 10)]
    best = 0.0
    for probes in (p for p in _PROBES if p <= cells):
        found, times = [], []
        for query in asked:
            start = time.perf_counter()
            found.append(nearest.by_index(table, query[None], 10, "", probes, REFINE)[0])
            times.append(time.perf_counter() - start)
        best = sum(len({row for _, row in f} & e) / len(e) for f, e in zip(found, exact, strict=True)) / len(exact)
        told(f"{probes} of {cells} cells: recall@10 {best:.3f}")
        if best >= recall:
            return Built(
                kind, cells, probes, REFINE, round(best, 4), recall, len(asked), round(seconds, 2), 1000 * sorted(times)[len(times) // 2]
            )
    raise UsageError(f"{folder}: {kind} reaches recall@10 {best:.3f} at best, {recall} was asked; try ivf-flat, or ask for less")


def _queries(table: Any, rows: int, count: int) -> torch.Tensor:
    """(count, d) stored vectors from all over the table, each a little moved."""
    generator = torch.Generator().manual_seed(0)
    step = max(1, rows // count)
    held = table.take_offsets(list(range(0, rows, step))[:count]).select(["vector"]).to_arrow().column("vector")
    vectors: torch.Tensor = tables.matrix(held.combine_chunks())
    noise = torch.randn(vectors.shape, generator=generator)
    moved: torch.Tensor = vectors + 0.1 * vectors.norm(dim=1, keepdim=True) * noise / noise.norm(dim=1, keepdim=True)
    return moved
