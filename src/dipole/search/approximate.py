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

KINDS: dict[str, tuple[str, dict[str, int]]] = {
    "ivf-rq": ("IvfRq", {"num_bits": 2}),  # RaBitQ; of two bits, since with one the few best of real queries are confused
    "ivf-sq": ("IvfSq", {}),
    "ivf-pq": ("IvfPq", {}),
    "ivf-flat": ("IvfFlat", {}),
    "ivf-hnsw-sq": ("HnswSq", {}),
}
_LEAST = 1000  # below this many vectors the exact answer is as quick
_PROBES = (1, 2, 4, 8, 16, 32, 45, 64, 90, 128, 181, 256, 362, 512, 724, 1024)
REFINE = 10


@dataclass(frozen=True)
class Built:
    """What an index is and does. ``recall`` at k = 10 against the exact answer, over ``queries`` queries (``given``, or drawn),
    at ``probes`` of ``cells`` cells, where ``wanted`` was asked; ``seconds`` of building, ``milliseconds`` of a query, median.
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
    given: bool = False

    @property
    def text(self) -> str:
        """In one line."""
        over = f"{self.queries} queries {'given' if self.given else 'drawn'}"
        answer = f"recall@10 {self.recall:.3f} over {over}, {self.milliseconds:.1f} ms a query (median)"
        return f"{self.kind}, {self.probes} of {self.cells} cells: {answer}; built in {self.seconds:.0f} s"


def build(
    folder: Path,
    table: Any,
    rows: int,
    kind: str,
    recall: float,
    queries: int | torch.Tensor,
    told: Callable[[str], None] = lambda text: None,
    least: int = 1,
) -> Built:
    """Build the index, then look into more and more cells, ``least`` or more, until recall@10 is ``recall``.

    ``queries``: (N, d) vectors of real queries to measure with, or how many to draw. Raises UsageError where there are too few
    vectors, or where no number of cells reaches the recall.
    """
    if kind not in KINDS:
        raise UnknownNameError("kind of index", kind, KINDS)
    if rows < _LEAST:
        raise UsageError(f"{folder}: {rows} vectors are answered exactly at once; an index pays from {_LEAST} on")
    name, settings = KINDS[kind]
    cells = cells_of(rows)
    made = getattr(need("lancedb.index", "search", "an approximate index"), name)
    told(f"building {kind} with {cells} cells over {rows} vectors")
    began = time.perf_counter()
    table.create_index("vector", config=made(distance_type="dot", num_partitions=cells, **settings), replace=True)
    seconds = time.perf_counter() - began
    asked = drawn(table, rows, queries) if isinstance(queries, int) else queries.float()
    exact = [{row for _, row in ranking} for ranking in nearest.exactly(folder, table, asked, 10)]
    best = 0.0
    for probes in sorted({min(p, cells) for p in (*_PROBES, cells) if p >= min(least, cells)}):
        found, times = [], []
        for query in asked:
            start = time.perf_counter()
            found.append(nearest.by_index(table, query[None], 10, "", probes, REFINE)[0])
            times.append(time.perf_counter() - start)
        best = sum(len({row for _, row in f} & e) / len(e) for f, e in zip(found, exact, strict=True)) / len(exact)
        told(f"{probes} of {cells} cells: recall@10 {best:.3f}")
        if best >= recall:
            middle = 1000 * sorted(times)[len(times) // 2]
            given = not isinstance(queries, int)
            return Built(kind, cells, probes, REFINE, round(best, 4), recall, len(asked), round(seconds, 2), round(middle, 3), given)
    raise UsageError(f"{folder}: {kind} reaches recall@10 {best:.3f} at best, {recall} was asked; try ivf-flat, or ask for less")


def cells_of(rows: int) -> int:
    """Into how many cells so many vectors are put."""
    return max(1, min(4096, round(math.sqrt(rows) / 2)))


def drawn(table: Any, rows: int, count: int) -> torch.Tensor:
    """(count, d) queries that are no stored vector but lie where those lie: each stored vector of a sample moved by its own
    length in the direction of the difference of two others, which has the spectrum of the collection.

    Their nearest are about as hard to find as those of questions people ask, in ``bench/million.py`` a little harder; a vector
    moved by a little noise finds itself and its copies, which says nothing.
    """
    generator = torch.Generator().manual_seed(0)
    places = torch.randint(rows, (3 * count,), generator=generator).unique()
    held = table.take_offsets(places.tolist()).select(["vector"]).to_arrow().column("vector")
    vectors: torch.Tensor = tables.matrix(held.combine_chunks())
    start, left, right = (vectors[torch.randint(len(vectors), (count,), generator=generator)] for _ in range(3))
    away = torch.nn.functional.normalize(left - right, dim=1) * start.norm(dim=1, keepdim=True)
    moved: torch.Tensor = torch.nn.functional.normalize(start + away, dim=1) * start.norm(dim=1, keepdim=True)
    return moved
