"""Rankings of a whole corpus, best first, and trec_eval's metrics on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from dipole.core.errors import DataError
from dipole.core.extras import need
from dipole.core.pairs import Pairs
from dipole.evaluate.bootstrap import Floats
from dipole.evaluate.task import RetrievalTask
from dipole.evaluate.vectors import Sides, cosines_of_pairs
from dipole.pairwise import Sum, Tile, reduce
from dipole.pairwise.topk import topk_search

DEPTH = 1000  # documents a ranking keeps
_TIED = 1e-6  # cosines this near are equal: float32 tells no more


@dataclass(frozen=True, eq=False)
class Rankings:
    """``names`` the ids of the queries asked; ``order`` for each the indices of documents, best first."""

    names: Sequence[str]
    order: Sequence[Sequence[int]]
    counts: Mapping[str, int]

    def first_relevant(self, task: RetrievalTask) -> list[int | None]:
        """The rank of each query's first relevant document; None where the ranking holds none."""
        found = []
        for name, ranking in zip(self.names, self.order, strict=True):
            wanted = task.relevant[name]
            found.append(next((rank for rank, d in enumerate(ranking, 1) if wanted.get(task.document_ids[d], 0) > 0), None))
        return found


def asked(task: RetrievalTask) -> list[int]:
    """The places of queries with a relevant document. Raises DataError where there is none."""
    found = [i for i, query in enumerate(task.query_ids) if any(g > 0 for g in task.relevant.get(query, {}).values())]
    if not found:
        raise DataError(f"task {task.name}: no query has a relevant document", remedy="check the ids of the judgements")
    return found


def rank(task: RetrievalTask, sides: Sides) -> Rankings:
    """Every document for every query, by cosine, equal ones in the order of the corpus, a query's own document left out."""
    chosen = asked(task)
    queries = sides.queries([task.queries[i] for i in chosen], "queries")
    documents = sides.keys(task.documents, "documents")
    itself, held = _itself(task, chosen), set(task.document_ids)
    ids = topk_search(queries, documents, k=min(DEPTH + bool(itself), len(documents))).ids.tolist()
    order = [[d for d in found if d >= 0 and d != itself.get(i)][:DEPTH] for i, found in zip(chosen, ids, strict=True)]
    counts = {
        "queries": len(chosen),
        "documents": len(task.documents),
        "queries_without_relevant": len(task.query_ids) - len(chosen),
        "self_matches_left_out": len(itself),
        "judgements_outside_corpus": sum(d not in held for i in chosen for d in task.relevant[task.query_ids[i]]),
        **task.counts,
    }
    return Rankings([task.query_ids[i] for i in chosen], order, counts)


def measure(task: RetrievalTask, found: Rankings, codes: Mapping[str, str]) -> dict[str, Floats]:
    """Metric -> (N,) values in the order of the queries; ``codes`` maps our name to ir-measures'."""
    measures = need("ir_measures", "evaluate", "retrieval metrics")
    need("pytrec_eval", "evaluate", "retrieval metrics")
    wanted = {measures.parse_measure(code): name for name, code in codes.items()}
    at = {query: place for place, query in enumerate(found.names)}
    judged = [measures.Qrel(q, d, grade) for q in found.names for d, grade in task.relevant[q].items()]
    values = {name: np.zeros(len(found.names)) for name in codes}
    for one in measures.pytrec_eval.iter_calc(list(wanted), judged, _run(measures, task, found)):
        values[wanted[one.measure]][at[one.query_id]] = one.value
    return values


def _itself(task: RetrievalTask, chosen: Sequence[int]) -> dict[int, int]:
    """Query index -> index of the document that is the query itself (same id, same text) and not judged relevant."""
    at = {name: place for place, name in enumerate(task.document_ids)}
    found = {}
    for i in chosen:
        query = task.query_ids[i]
        place = at.get(query)
        if place is not None and _same(task.documents[place], task.queries[i]) and task.relevant[query].get(query, 0) <= 0:
            found[i] = place
    return found


def _same(document: Any, query: Any) -> bool:
    return isinstance(document, str) and isinstance(query, str) and document.endswith(query)


def _run(measures: Any, task: RetrievalTask, found: Rankings) -> Iterator[Any]:
    """The rankings as a run. Ranks serve as scores, so ties are settled here; what comes after a query's last judged
    document changes no metric and is not handed on.
    """
    for query, ranking in zip(found.names, found.order, strict=True):
        judged = task.relevant[query]
        last = max((r for r, d in enumerate(ranking) if task.document_ids[d] in judged), default=0)
        for rank, document in enumerate(ranking[: last + 1]):
            yield measures.ScoredDoc(query, task.document_ids[document], float(DEPTH - rank))


def best_ranks(queries: torch.Tensor, documents: torch.Tensor, gold: Sequence[Sequence[int]]) -> Floats:
    """(N,) the rank of each query's best relevant document (``gold``: places of documents) among all, without a cutoff."""
    return ranks_of(queries, documents, gold, {"gold": best_cosines(queries, documents, gold)})["gold"]


def best_cosines(queries: torch.Tensor, documents: torch.Tensor, gold: Sequence[Sequence[int]]) -> torch.Tensor:
    """(N,) each query's largest cosine with its relevant documents."""
    row, col = _listed(gold)
    cosine = cosines_of_pairs(queries, documents, row.tolist(), col.tolist())
    return torch.full((len(queries),), -torch.inf).scatter_reduce_(0, row, cosine, "amax")


def ranks_of(
    queries: torch.Tensor, documents: torch.Tensor, own: Sequence[Sequence[int]], cosines: Mapping[str, torch.Tensor]
) -> dict[str, Floats]:
    """Name -> (N,) the rank that a document of this cosine with the query would have among those that are not the query's own.

    Documents within 1e-6 of it count half a rank each, so that no order of the corpus favours anybody. One pass for all names;
    memory is O(N) a name beyond a bounded workspace.
    """
    row, col = _listed(own)
    pairs = replace(Pairs.weighted(queries, documents, row, col, torch.ones(len(row))), rows=dict(cosines))

    def ahead(tile: Tile) -> dict[str, torch.Tensor]:
        over = {name: tile.scores - tile.rows[name] for name in cosines}
        return {n: tile.fill_positive((o > _TIED).float() + 0.5 * (o.abs() <= _TIED).float(), 0.0) for n, o in over.items()}

    wanted: dict[str, Any] = {name: Sum("rows", of=name) for name in cosines}
    with torch.no_grad():
        found = vars(reduce(ahead, pairs, **wanted))
    return {name: 1.0 + found[name].double().numpy() for name in cosines}


def _listed(places: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    return (
        torch.tensor([i for i, several in enumerate(places) for _ in several], dtype=torch.int64),
        torch.tensor([place for several in places for place in several], dtype=torch.int64),
    )


def relevant_places(task: RetrievalTask) -> tuple[list[int], list[list[int]]]:
    """The places of queries with a relevant document in the corpus, and the places of these documents.

    Raises DataError where there is no such query.
    """
    at = {name: place for place, name in enumerate(task.document_ids)}
    found = {i: [at[d] for d, grade in task.relevant[task.query_ids[i]].items() if grade > 0 and d in at] for i in asked(task)}
    chosen = [i for i, places in found.items() if places]
    if not chosen:
        raise DataError(f"task {task.name}: no query has a relevant document in the corpus", remedy="check the ids of the judgements")
    return chosen, [found[i] for i in chosen]
