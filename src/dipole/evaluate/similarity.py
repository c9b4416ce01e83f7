"""STS: does the cosine of two sentences follow the similarity people gave them?

Spearman and Pearson correlation of cosine and gold score over all pairs, ties with average ranks (scipy). A correlation
does not change with the scale of the scores, so 0-5 and 0-1 files need no conversion.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dipole.core.errors import DataError, UsageError
from dipole.core.extras import need
from dipole.evaluate.bootstrap import Floats, statistic_interval
from dipole.evaluate.result import Result, unit_vectors
from dipole.rows.read import lines

_FIRST = ("sentence1", "sentence_1", "text1", "anchor")
_SECOND = ("sentence2", "sentence_2", "text2", "positive")
_SCORE = ("score", "similarity", "label", "gold")
POLICY = {"score": "cosine, float32", "ties": "average ranks", "pairs": "all pairs of the file in one correlation"}


@dataclass(frozen=True, eq=False)
class SimilarityTask:
    """Pairs of sentences with a gold score each."""

    name: str
    first: Sequence[str]
    second: Sequence[str]
    scores: Sequence[float]


def read_similarity(path: str | Path, name: str = "") -> SimilarityTask:
    """A TSV of sentence1, sentence2, score, with or without a header (a header may have another order), or the original
    STS-B files: seven or more columns, score in the fifth, sentences in the sixth and seventh. No quoting.

    Raises UsageError where the file is missing, DataError with the line for a ragged row or a score that is no number.
    """
    place = Path(path).expanduser()
    if not place.is_file():
        raise UsageError(f"{place}: no such file; give a TSV of sentence1, sentence2, score")
    first, second, scores = [], [], []
    order, width = (0, 1, 2), 0
    for line, text in lines(place):
        fields = text.split("\t")
        if not text.strip():
            continue
        if not width:
            width = len(fields)
            header = _header(fields)
            order = header or ((5, 6, 4) if width >= 7 else order)
            if header:
                continue
        original = width >= 7 and order == (5, 6, 4)  # some rows of STS-B carry licence columns
        if len(fields) != width and not (original and len(fields) >= 7):
            raise DataError(
                f"a row must have {width} fields as the first row has, divided by tabs", path=place, line=line, value=len(fields)
            )
        if len(fields) <= max(order):
            raise DataError("a row must be sentence1, sentence2, score, divided by tabs", path=place, line=line, value=text)
        score = _number(fields[order[2]])
        if score is None:
            remedy = "name the columns of a header sentence1, sentence2, score" if line == 1 else ""
            raise DataError("the score must be a finite number", path=place, line=line, value=fields[order[2]], remedy=remedy)
        first.append(fields[order[0]])
        second.append(fields[order[1]])
        scores.append(score)
    if len(scores) < 3:
        raise DataError("a correlation needs at least 3 rows", path=place, value=len(scores))
    return SimilarityTask(name or str(path), first, second, scores)


def evaluate_similarity(
    encode: Callable[[Sequence[str]], torch.Tensor],
    task: SimilarityTask,
    seed: int = 0,
    samples: int = 2_000,
) -> Result:
    """Correlations of cosine and score. Raises DataError for NaN vectors and for scores or cosines that are all equal."""
    stats = need("scipy.stats", "text", "correlations")
    texts = list(dict.fromkeys([*task.first, *task.second]))
    at = {text: place for place, text in enumerate(texts)}
    vectors = unit_vectors(encode, texts, "sentences")
    cosine = (vectors[[at[t] for t in task.first]] * vectors[[at[t] for t in task.second]]).sum(-1).double().numpy()
    gold = np.asarray(task.scores, dtype=np.float64)
    for what, values in (("gold scores", gold), ("cosines", cosine)):
        if np.ptp(values) == 0:
            raise DataError(f"task {task.name}: the {what} are all equal, so no correlation exists", value=float(values[0]))
    figures = {"spearman": float(stats.spearmanr(cosine, gold).statistic), "pearson": float(stats.pearsonr(cosine, gold).statistic)}

    def spearman(a: Floats, b: Floats) -> Floats:
        return _pearson(stats.rankdata(a, axis=1), stats.rankdata(b, axis=1))

    intervals = {
        "spearman": statistic_interval((cosine, gold), spearman, seed, samples),
        "pearson": statistic_interval((cosine, gold), _pearson, seed, samples),
    }
    columns: dict[str, Any] = {"sentence1": list(task.first), "sentence2": list(task.second), "score": gold, "cosine": cosine}
    return Result(task.name, "sts", figures, intervals, columns, {"pairs": len(gold), "sentences": len(texts)}, POLICY)


def _pearson(a: Floats, b: Floats) -> Floats:
    """Row by row, (S, N) and (S, N) to (S,); NaN where a row is constant."""
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return found


def _header(fields: Sequence[str]) -> tuple[int, int, int] | None:
    names = [field.strip().lower() for field in fields]
    found = [next((names.index(n) for n in known if n in names), None) for known in (_FIRST, _SECOND, _SCORE)]
    return (found[0], found[1], found[2]) if None not in found else None  # type: ignore[return-value]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
