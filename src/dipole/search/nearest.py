"""Which rows of a table are nearest to a query: exactly, by an approximate index, by words, or by late interaction.

Every function answers, per query, pairs of (score, row id), best first; equal scores in the order stored.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch

from dipole.core.extras import need
from dipole.pairwise.scores.max_sim import MaxSim
from dipole.pairwise.topk import topk_search
from dipole.search import table as tables
from dipole.search.documents import refuse_bad_vectors
from dipole.search.places import Place

Ranking = list[tuple[float, int]]
FEW = 10_000  # documents that are compared exactly where a filter leaves no more
RRF = 60  # the constant of reciprocal rank fusion, as in Cormack et al., SIGIR 2009


def exactly(folder: Place, table: Any, queries: torch.Tensor, k: int, where: str = "", column: str = "vector") -> list[Ranking]:
    """Out of the table, a block at a time: memory does not grow with it."""
    return among(checked(folder, table, where, column), queries, k)


def checked(folder: Place, table: Any, where: str = "", column: str = "vector") -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Blocks of (n, d) vectors and (n,) row ids. Raises DataError for a vector that is zero or not finite."""
    first = 0
    for block, ids in tables.read_vectors(table, where, column):
        refuse_bad_vectors(block, str(folder), first, "rebuild with: dipole index --rebuild")
        yield block, ids
        first += len(block)


def among(blocks: Iterable[tuple[torch.Tensor, torch.Tensor]], queries: torch.Tensor, k: int) -> list[Ranking]:
    """The best of each block joined with the best so far."""
    scores = queries.new_empty(len(queries), 0)
    rows = torch.empty(len(queries), 0, dtype=torch.int64)
    for block, ids in blocks:
        top = topk_search(queries, block, min(k, len(block)))
        scores, rows = torch.cat([scores, top.values.to(scores)], 1), torch.cat([rows, ids[top.ids]], 1)
        order = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
        scores, rows = scores.gather(1, order), rows.gather(1, order)
    return [list(zip(*pair, strict=True)) for pair in zip(scores.tolist(), rows.tolist(), strict=True)]


def indexed(folder: Place, table: Any, queries: torch.Tensor, k: int, where: str, index: Mapping[str, Any]) -> list[Ranking]:
    """By the approximate index as it was measured, and by more of its cells for a query that they give fewer than ``k``. The few
    that a filter leaves are compared exactly: they lie anywhere, and most of them in cells that are not looked into.
    """
    if where and table.count_rows(where) <= FEW:
        return exactly(folder, table, queries, k, where)
    probes, cells, refine = index["probes"], index["cells"], index["refine"]
    found = by_index(table, queries, k, where, probes, refine)
    while probes < cells and (short := [place for place, ranking in enumerate(found) if len(ranking) < k]):
        probes = min(4 * probes, cells)
        for place, ranking in zip(short, by_index(table, queries[short], k, where, probes, refine), strict=True):
            found[place] = ranking
    return found


def by_index(table: Any, queries: torch.Tensor, k: int, where: str, probes: int, refine: int) -> list[Ranking]:
    """By the approximate index: ``probes`` of its cells are looked into, ``refine`` * k candidates scored exactly."""
    found = []
    for query in queries:
        asked = table.search(query.numpy()).distance_type("dot").nprobes(probes).refine_factor(refine).limit(k)
        if where:
            asked = asked.where(where, prefilter=True)
        answer = asked.select(["_distance"]).with_row_id(True).to_arrow()
        distances, rows = answer.column("_distance").to_pylist(), answer.column("_rowid").to_pylist()
        found.append([(1 - d, r) for d, r in zip(distances, rows, strict=True)])
    return found


def by_words(table: Any, query: str, k: int, where: str = "") -> Ranking:
    """BM25 over the words of title and text, stemmed; a query without words finds nothing."""
    if not any(letter.isalnum() for letter in query):
        return []
    match = need("lancedb.query", "search", "search by words").MultiMatchQuery(query, ["text", "title"])
    asked = table.search(match, query_type="fts").limit(k)
    if where:
        asked = asked.where(where, prefilter=True)
    answer = asked.select(["_score"]).with_row_id(True).to_arrow()
    pairs = zip(answer.column("_score").to_pylist(), answer.column("_rowid").to_pylist(), strict=True)
    return sorted(pairs, key=lambda pair: (-pair[0], pair[1]))


def fused(rankings: Iterable[Ranking], k: int) -> Ranking:
    """Reciprocal rank fusion: sum over the rankings of 1 / (60 + rank), ranks from 1.

    >>> fused([[(0.9, 7), (0.8, 3)], [(12.0, 3)]], k=2)
    [(0.03252247488101534, 3), (0.01639344262295082, 7)]
    """
    total: dict[int, float] = defaultdict(float)
    for ranking in rankings:
        for rank, (_, row) in enumerate(ranking, 1):
            total[row] += 1 / (RRF + rank)
    return sorted(((score, row) for row, score in total.items()), key=lambda pair: (-pair[0], pair[1]))[:k]


def by_tokens(table: Any, query: torch.Tensor, candidates: Ranking, k: int) -> Ranking:
    """The candidates in the order of MaxSim between the query's (L, d) token vectors and theirs."""
    if not candidates:
        return []
    rows = [row for _, row in candidates]
    held = table.take_row_ids(rows).select(["tokens"]).with_row_id().to_arrow()
    ids = held.column("_rowid").to_pylist()
    keys = _padded([torch.tensor(t, dtype=torch.float32) for t in held.column("tokens").to_pylist()])
    top = topk_search(_padded([query.float()]), keys, min(k, len(ids)), score=MaxSim())
    return [(score, ids[place]) for score, place in zip(top.values[0].tolist(), top.ids[0].tolist(), strict=True)]


def _padded(tokens: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    padded = torch.nn.utils.rnn.pad_sequence(list(tokens), batch_first=True)
    mask = torch.arange(padded.shape[1])[None, :] < torch.tensor([len(t) for t in tokens])[:, None]
    return padded, mask
