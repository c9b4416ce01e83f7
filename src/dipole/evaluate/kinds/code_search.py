"""Code search: does a question in words find its function among all functions?

The measure is CodeSearchNet's and CoSQA's: the mean reciprocal rank over the whole code base, without a cutoff.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dipole.core.errors import DataError, UsageError
from dipole.core.part import part
from dipole.evaluate.bootstrap import mean_intervals
from dipole.evaluate.kind import SAMPLES, result
from dipole.evaluate.ranking import best_ranks, relevant_places
from dipole.evaluate.result import Result
from dipole.evaluate.task import RetrievalTask, read_task
from dipole.evaluate.vectors import Encode, Sides

__all__ = ["CodeSearch"]


@part
class CodeSearch:
    """Code: does a question in words find its function in the whole code base?"""

    files: ClassVar[str] = (
        "CoSQA's FILE.json (doc, code, retrieval_idx) with code_idx_map.txt beside it; a FILE of pairs (docstring or query, and code), "
        "whose functions are the code base; or a FOLDER in BEIR layout"
    )
    unit: ClassVar[str] = "queries"
    two_sided: ClassVar[bool] = True
    primary: ClassVar[str] = "mrr"
    policy: ClassVar[Mapping[str, str]] = {
        "score": "cosine, float32, exact over the whole code base",
        "ties": "functions within 1e-6 of the right one's cosine count half a rank each",
        "several": "where several functions are right, the best placed one counts",
        "queries": "queries without a right function in the code base are left out",
        "interval": "95% percentile bootstrap over queries",
    }

    def definitions(self) -> dict[str, str]:
        return {
            "mrr": "mean of 1 / rank of the right function among the whole code base, no cutoff",
            "recall@1": "share of queries whose right function ranks first",
            "recall@5": "share of queries whose right function ranks among the first 5",
            "recall@10": "share of queries whose right function ranks among the first 10",
        }

    def read(self, place: str, name: str = "") -> RetrievalTask:
        path = Path(place).expanduser()
        return _cosqa(path, name or place) if path.suffix == ".json" and path.is_file() else read_task(place, name)

    def __call__(
        self, task: RetrievalTask, encode: Encode, encode_keys: Encode | None = None, *, seed: int = 0, samples: int = SAMPLES
    ) -> Result:
        """Raises DataError where no query has a right function."""
        chosen, gold = relevant_places(task)
        sides = Sides(encode, encode_keys)
        queries = sides.queries([task.queries[i] for i in chosen], "queries")
        ranks = best_ranks(queries, sides.keys(task.documents, "functions"), gold)
        values: dict[str, np.ndarray[Any, Any]] = {"mrr": 1 / ranks}
        values |= {f"recall@{k}": (ranks <= k).astype(np.float64) for k in (1, 5, 10)}
        metrics = {name: float(v.mean()) for name, v in values.items()}
        counts = {"queries": len(chosen), "functions": len(task.documents), "queries_without_relevant": len(task.query_ids) - len(chosen)}
        columns: dict[str, Any] = {"query_id": [task.query_ids[i] for i in chosen], "rank": ranks, **values}
        return result(self, task.name, sides, metrics, mean_intervals(values, seed, samples), columns, {**counts, **task.counts}, seed)


def _cosqa(path: Path, name: str) -> RetrievalTask:
    base = path.with_name("code_idx_map.txt")
    if not base.is_file():
        raise UsageError(f"{base}: missing; it holds the code base, a JSON object of code to number")
    codes, entries = _json(base, dict), _json(path, list)
    known = {str(number) for number in codes.values()}
    if len(known) != len(codes):
        raise DataError("the numbers of the code base must differ", path=base)
    queries, relevant, outside = [], {}, 0
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("doc"), str) or "retrieval_idx" not in entry:
            raise DataError(f"entry {place} must have doc, a text, and retrieval_idx", path=path, value=entry)
        queries.append(entry["doc"])
        relevant[str(place)] = {str(entry["retrieval_idx"]): 1}
        outside += str(entry["retrieval_idx"]) not in known
    if not queries:
        raise DataError("the file holds no queries", path=path)
    ids, texts = [str(number) for number in codes.values()], list(codes)
    return RetrievalTask(name, list(relevant), queries, ids, texts, relevant, {"judgements_outside_corpus": outside})


def _json(path: Path, wanted: type) -> Any:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise DataError("the bytes are not UTF-8", path=path) from None
    except json.JSONDecodeError as error:
        raise DataError(f"no JSON: {error.msg}", path=path, line=error.lineno) from None
    if not isinstance(value, wanted):
        raise DataError(f"the file must hold a JSON {'object' if wanted is dict else 'array'}", path=path, value=type(value).__name__)
    return value
