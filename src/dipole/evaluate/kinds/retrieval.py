"""Retrieval: for each query, are the relevant documents on top?

Cosine of the vectors, exact search over the whole corpus, metrics by ir-measures (trec_eval's definitions). What happens to ties,
to a query's own document and to odd judgements is in the policy and counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from dipole.core.part import part
from dipole.evaluate.bootstrap import mean_intervals
from dipole.evaluate.kind import SAMPLES, result
from dipole.evaluate.ranking import DEPTH, measure, rank
from dipole.evaluate.result import Result
from dipole.evaluate.task import FILES, RetrievalTask, read_task
from dipole.evaluate.vectors import Encode, Sides

__all__ = ["Retrieval"]


@part
class Retrieval:
    """Search: does a query find its relevant documents in the whole corpus?"""

    files: ClassVar[str] = FILES
    unit: ClassVar[str] = "queries"
    two_sided: ClassVar[bool] = True
    primary: ClassVar[str] = "ndcg@10"
    policy: ClassVar[Mapping[str, str]] = {
        "score": "cosine, float32, exact over the whole corpus",
        "ties": "equal scores: the document that comes first in the corpus ranks first",
        "self": "a document with the query's own id and the query's own text is left out unless it is judged relevant",
        "judgements": "a relevant document outside the corpus stays a miss; grades of 0 and below are not relevant",
        "queries": "queries without a relevant document are left out",
        "text": "title, a space, text",
        "depth": f"rankings are cut after {DEPTH} documents",
        "interval": "95% percentile bootstrap over queries",
    }

    def definitions(self) -> dict[str, str]:
        return {
            "ndcg@10": "sum of grade / log2(rank + 1) over the first 10 documents, divided by that of the ideal order",
            "mrr@10": "1 / rank of the first relevant document, 0 beyond rank 10",
            "recall@1": "share of the query's relevant documents that rank first",
            "recall@10": "share of the query's relevant documents among the first 10",
            "recall@100": "share of the query's relevant documents among the first 100",
            "map": f"average over the relevant documents of the precision at their rank, 0 for those beyond rank {DEPTH}",
        }

    def read(self, place: str, name: str = "") -> RetrievalTask:
        return read_task(place, name)

    def __call__(
        self, task: RetrievalTask, encode: Encode, encode_keys: Encode | None = None, *, seed: int = 0, samples: int = SAMPLES
    ) -> Result:
        """Raises DataError for NaN vectors and for a task in which no query has a relevant document."""
        sides = Sides(encode, encode_keys)
        found = rank(task, sides)
        codes = {"ndcg@10": "nDCG@10", "mrr@10": "RR", "recall@1": "R@1", "recall@10": "R@10", "recall@100": "R@100", "map": "AP"}
        values = measure(task, found, codes)
        values["mrr@10"][values["mrr@10"] < 1 / 10.5] = 0.0  # trec_eval's reciprocal rank has no cutoff
        columns: dict[str, Any] = {"query_id": found.names, "first_relevant_rank": found.first_relevant(task)}
        metrics = {name: float(v.mean()) for name, v in values.items()}
        notes = ("the corpus has one document, so every figure is 1 by construction",) if len(task.documents) == 1 else ()
        return result(self, task.name, sides, metrics, mean_intervals(values, seed, samples), columns | values, found.counts, seed, notes)
