"""Reranking: are a query's relevant candidates above its other candidates?

Each query has its own list. Equal cosines are settled by the mean over all their orders, so that a list which names relevant
candidates first gives nothing away; without ties the figures are trec_eval's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dipole.core.errors import DataError
from dipole.core.part import at_least, part
from dipole.evaluate import tied
from dipole.evaluate.bootstrap import mean_intervals
from dipole.evaluate.kind import SAMPLES, result
from dipole.evaluate.result import Result
from dipole.evaluate.table import Table, splits
from dipole.evaluate.vectors import Encode, Sides, cosines_of_pairs

__all__ = ["Reranking"]


@dataclass(frozen=True, eq=False)
class RerankingTask:
    """For each query its candidates and their grades, whole numbers; above 0 is relevant."""

    name: str
    queries: Sequence[Any]
    candidates: Sequence[Sequence[Any]]
    grades: Sequence[Sequence[int]]
    counts: Mapping[str, int]


@part
class Reranking:
    """Candidates of a query: are the relevant ones on top?"""

    depth: int = at_least(1, 10, "rank at which nDCG is cut")

    files: ClassVar[str] = (
        "FILE of query, document and label or score (a grade, above 0 is relevant), one candidate a row; or JSONL of query, positive and "
        "negative, lists of texts; or a FOLDER whose test.* is used"
    )
    unit: ClassVar[str] = "queries"
    two_sided: ClassVar[bool] = True
    primary: ClassVar[str] = "map"
    policy: ClassVar[Mapping[str, str]] = {
        "score": "cosine, float32, rounded to 6 decimals",
        "ties": "the mean over all orders of candidates of equal cosine (McSherry and Najork 2008)",
        "grades": "grades of 0 and below are not relevant and gain nothing",
        "duplicates": "a candidate that a query has twice counts once, with its highest grade; counted",
        "queries": "queries without a relevant candidate are left out, and counted; those with relevant ones only stay, and are counted",
        "interval": "95% percentile bootstrap over queries",
    }

    def definitions(self) -> dict[str, str]:
        return {
            "map": "mean over queries of the average, over relevant candidates, of the precision at their rank",
            "mrr": "mean over queries of 1 / rank of the first relevant candidate",
            f"ndcg@{self.depth}": f"sum of grade / log2(rank + 1) over the first {self.depth} candidates, over that of the ideal order",
        }

    def read(self, place: str, name: str = "") -> RerankingTask:
        table = splits(place)["test"]
        table.need("positive", "document")
        long_form = table.has("score") or table.has("label")
        lists = _long(table) if long_form and not table.has("negative") else _listed(table)
        grades: dict[str, dict[str, int]] = {}
        repeated = 0
        for query, candidate, grade in lists:
            held = grades.setdefault(query, {})
            repeated += candidate in held
            held[candidate] = max(grade, held.get(candidate, grade))
        counts = {"candidates_repeated": repeated}
        return RerankingTask(
            name or place, list(grades), [list(g) for g in grades.values()], [list(g.values()) for g in grades.values()], counts
        )

    def __call__(
        self, task: RerankingTask, encode: Encode, encode_keys: Encode | None = None, *, seed: int = 0, samples: int = SAMPLES
    ) -> Result:
        """Raises DataError where no query has a relevant candidate."""
        chosen = [i for i, grades in enumerate(task.grades) if any(g > 0 for g in grades)]
        if not chosen:
            raise DataError(f"task {task.name}: no query has a relevant candidate", remedy="check the labels: 1 is relevant")
        sides = Sides(encode, encode_keys)
        queries = sides.queries([task.queries[i] for i in chosen], "queries")
        candidates = sides.keys([c for i in chosen for c in task.candidates[i]], "candidates")
        sizes = [len(task.candidates[i]) for i in chosen]
        rows = np.repeat(np.arange(len(chosen)), sizes)
        cosine = cosines_of_pairs(queries, candidates, rows.tolist(), range(len(candidates))).double().numpy()
        found: dict[str, list[float]] = {name: [] for name in self.definitions()}
        ties = 0
        for scores, i in zip(np.split(cosine, np.cumsum(sizes)[:-1]), chosen, strict=True):
            ranked = tied.groups(scores, task.grades[i])
            ties += len(ranked) < len(scores)
            three = tied.average_precision(ranked), tied.reciprocal_rank(ranked), tied.ndcg(ranked, self.depth)
            for name, value in zip(found, three, strict=True):
                found[name].append(value)
        values = {name: np.array(v) for name, v in found.items()}
        metrics = {name: float(v.mean()) for name, v in values.items()}
        columns: dict[str, Any] = {"query": [str(task.queries[i]) for i in chosen], "candidates": sizes, **values}
        counts = {
            "queries": len(chosen),
            "candidates": len(candidates),
            "queries_without_relevant": len(task.queries) - len(chosen),
            "queries_all_relevant": sum(all(g > 0 for g in task.grades[i]) for i in chosen),
            "queries_with_ties": ties,
            **task.counts,
        }
        return result(self, task.name, sides, metrics, mean_intervals(values, seed, samples), columns, counts, seed)


def _long(table: Table) -> list[tuple[str, str, int]]:
    role = "score" if table.has("score") else "label"
    numbers = table.numbers(role)
    for row, number in enumerate(numbers):
        if number != int(number):
            raise table.error(row, role, "a grade must be a whole number", table.rows[row].get(role))
    return [(q, d, int(n)) for q, d, n in zip(table.texts("anchor"), table.texts("positive"), numbers, strict=True)]


def _listed(table: Table) -> list[tuple[str, str, int]]:
    table.need("negative", "negative")
    rows = zip(table.texts("anchor"), table.lists("positive"), table.lists("negative"), strict=True)
    return [(q, text, grade) for q, good, bad in rows for grade, several in ((1, good), (0, bad)) for text in several]
