"""Rank and linear correlation with bootstrap intervals, for similarity of sentences and of words."""

from __future__ import annotations

from typing import Any

import numpy as np

from dipole.core.errors import DataError
from dipole.core.extras import need
from dipole.evaluate.bootstrap import Floats, statistic_interval


def correlations(
    task: str, cosine: Floats, gold: Floats, seed: int, samples: int
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Spearman and Pearson of (N,) cosines and gold scores, and their intervals.

    Raises DataError where either is constant, as no correlation exists then, and for fewer than 3 pairs.
    """
    stats = need("scipy.stats", "evaluate", "correlations")
    if len(gold) < 3:
        raise DataError(f"task {task}: a correlation needs at least 3 pairs", value=len(gold))
    for what, values in (("gold scores", gold), ("cosines", cosine)):
        if np.ptp(values) == 0:
            raise DataError(f"task {task}: the {what} are all equal, so no correlation exists", value=float(values[0]))
    figures = {"spearman": float(stats.spearmanr(cosine, gold).statistic), "pearson": float(stats.pearsonr(cosine, gold).statistic)}

    def spearman(a: Floats, b: Floats) -> Floats:
        return pearson(stats.rankdata(a, axis=1), stats.rankdata(b, axis=1))

    columns: tuple[Any, Any] = (cosine, gold)
    intervals = {
        "spearman": statistic_interval(columns, spearman, seed, samples),
        "pearson": statistic_interval(columns, pearson, seed, samples),
    }
    return figures, intervals


def pearson(a: Floats, b: Floats) -> Floats:
    """Row by row, (S, N) and (S, N) to (S,); NaN where a row is constant."""
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return found
