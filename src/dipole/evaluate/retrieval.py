"""Retrieval: for each query, are the relevant documents on top?

Cosine of the vectors, exact search over the whole corpus, metrics by ir-measures (trec_eval's definitions): nDCG@10 with
linear gains of the grades and log2 discount, MRR@10, recall@1/10/100, MAP over the first 1000. What happens to ties, to a
query's own document and to odd judgements is in ``Result.policy`` and counted in ``Result.counts``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from dipole.core.errors import DataError
from dipole.core.extras import need
from dipole.evaluate.bootstrap import interval
from dipole.evaluate.result import Result, unit_vectors
from dipole.evaluate.task import RetrievalTask
from dipole.pairwise.topk import topk_search

Encode = Callable[[Sequence[str]], torch.Tensor]
METRICS = {
    "ndcg@10": "nDCG@10",
    "mrr@10": "RR",  # cut below: trec_eval's reciprocal rank has no cutoff
    "recall@1": "R@1",
    "recall@10": "R@10",
    "recall@100": "R@100",
    "map": "AP",
}
DEPTH = 1000
POLICY = {
    "score": "cosine, float32, exact over the whole corpus",
    "ties": "equal scores: the document that comes first in the corpus ranks first",
    "self": "a document with the query's own id and the query's own text is left out unless it is judged relevant",
    "judgements": "a relevant document outside the corpus stays a miss; grades of 0 and below are not relevant",
    "queries": "queries without a relevant document are left out",
    "text": "title, a space, text",
    "depth": f"rankings are cut after {DEPTH} documents",
}


def evaluate_retrieval(
    encode: Encode,
    task: RetrievalTask,
    encode_documents: Encode | None = None,
    seed: int = 0,
    samples: int = 10_000,
) -> Result:
    """Rank every document for every query. ``encode_documents`` where documents need another prompt than queries.

    Raises DataError for NaN vectors and for a task in which no query has a relevant document.
    """
    asked = [i for i, query in enumerate(task.query_ids) if any(g > 0 for g in task.relevant.get(query, {}).values())]
    if not asked:
        raise DataError(f"task {task.name}: no query has a relevant document", remedy="check the ids of the judgements")
    queries = unit_vectors(encode, [task.queries[i] for i in asked], "queries")
    documents = unit_vectors(encode_documents or encode, task.documents, "documents")
    if queries.shape[1] != documents.shape[1]:
        raise DataError("queries and documents must have vectors of one length", value=(queries.shape[1], documents.shape[1]))
    itself = _itself(task, asked)
    ids = topk_search(queries, documents, k=min(DEPTH + bool(itself), len(documents))).ids.tolist()
    names = [task.query_ids[i] for i in asked]
    rankings = [[d for d in found if d >= 0 and d != itself.get(i)][:DEPTH] for i, found in zip(asked, ids, strict=True)]
    per_query = _measure(task, names, rankings)
    metrics = {name: float(values.mean()) for name, values in per_query.items()}
    intervals = {name: interval(values, seed, samples) for name, values in per_query.items()}
    counts = {
        "queries": len(asked),
        "documents": len(task.documents),
        "queries_without_relevant": len(task.query_ids) - len(asked),
        "self_matches_left_out": len(itself),
        **task.counts,
    }
    notes = ("the corpus has one document, so every figure is 1 by construction",) if len(task.documents) == 1 else ()
    columns: dict[str, Any] = {"query_id": names, "first_relevant_rank": [_first(task, n, r) for n, r in zip(names, rankings, strict=True)]}
    return Result(task.name, "retrieval", metrics, intervals, columns | per_query, counts, POLICY, notes)


def _itself(task: RetrievalTask, asked: Sequence[int]) -> dict[int, int]:
    """Query index -> index of the document that is the query itself (same id, same text) and not judged relevant."""
    at = {name: place for place, name in enumerate(task.document_ids)}
    found = {}
    for i in asked:
        query = task.query_ids[i]
        place = at.get(query)
        if place is not None and task.documents[place].endswith(task.queries[i]) and task.relevant[query].get(query, 0) <= 0:
            found[i] = place
    return found


def _measure(task: RetrievalTask, names: Sequence[str], rankings: Sequence[Sequence[int]]) -> dict[str, np.ndarray[Any, Any]]:
    """Metric -> (N,) values in the order of ``names``."""
    measures = need("ir_measures", "text", "retrieval metrics")
    need("pytrec_eval", "text", "retrieval metrics")
    wanted = {measures.parse_measure(code): name for name, code in METRICS.items()}
    at = {query: place for place, query in enumerate(names)}
    judged = [measures.Qrel(q, d, grade) for q in names for d, grade in task.relevant[q].items()]
    values = {name: np.zeros(len(names)) for name in METRICS}
    for found in measures.pytrec_eval.iter_calc(list(wanted), judged, _run(measures, task, names, rankings)):
        values[wanted[found.measure]][at[found.query_id]] = found.value
    values["mrr@10"][values["mrr@10"] < 1 / 10.5] = 0.0
    return values


def _run(measures: Any, task: RetrievalTask, names: Sequence[str], rankings: Sequence[Sequence[int]]) -> Iterator[Any]:
    """The rankings as a run. Ranks serve as scores, so ties are settled here; what comes after a query's last judged
    document changes no metric and is not handed on.
    """
    for query, ranking in zip(names, rankings, strict=True):
        judged = task.relevant[query]
        last = max((r for r, d in enumerate(ranking) if task.document_ids[d] in judged), default=0)
        for rank, document in enumerate(ranking[: last + 1]):
            yield measures.ScoredDoc(query, task.document_ids[document], float(DEPTH - rank))


def _first(task: RetrievalTask, query: str, ranking: Sequence[int]) -> int | None:
    """Rank from 1 of the first relevant document; None where the ranking has none."""
    judged = task.relevant[query]
    return next((rank for rank, d in enumerate(ranking, 1) if judged.get(task.document_ids[d], 0) > 0), None)
