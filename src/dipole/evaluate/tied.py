"""Metrics of a ranking with ties: the mean over all orders of the items that tie (McSherry and Najork 2008, ECIR).

A list that puts relevant candidates first would otherwise give an encoder full marks for saying nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dipole.evaluate.bootstrap import Floats


def groups(scores: Floats, grades: Sequence[int], decimals: int = 6) -> list[Floats]:
    """The grades of equally scored items, best score first. Scores are compared after rounding: float32 tells no more."""
    levels = np.round(scores, decimals)
    held = np.asarray(grades, dtype=np.float64)
    return [held[levels == level] for level in sorted(set(levels.tolist()), reverse=True)]


def average_precision(tied: Sequence[Floats]) -> float:
    """Expected mean, over the relevant items, of the precision at their rank."""
    total, before, relevant = 0.0, 0, 0
    for grades in tied:
        n, r = len(grades), int((grades > 0).sum())
        for place in range(1, n + 1):  # an item of the group stands there, relevant with chance r / n
            others = (place - 1) * (r - 1) / (n - 1) if n > 1 else 0.0
            total += r / n * (relevant + 1 + others) / (before + place)
        before, relevant = before + n, relevant + r
    return total / relevant


def reciprocal_rank(tied: Sequence[Floats]) -> float:
    """Expected 1 / rank of the first relevant item."""
    before = 0
    for grades in tied:
        n, r = len(grades), int((grades > 0).sum())
        if r:
            # the first of r relevant ones stands at place p with chance C(n - p, r - 1) / C(n, r)
            return sum(math.comb(n - p, r - 1) / math.comb(n, r) / (before + p) for p in range(1, n - r + 2))
        before += n
    return 0.0


def ndcg(tied: Sequence[Floats], depth: int) -> float:
    """Expected gain of the first ``depth`` over the ideal one; gain is the grade, discount log2(rank + 1)."""
    discounts = 1 / np.log2(np.arange(2, depth + 2))
    gained, before = 0.0, 0
    for grades in tied:
        inside = discounts[before : min(before + len(grades), depth)]
        gained += float(np.maximum(grades, 0).mean() * inside.sum())
        before += len(grades)
    ideal = np.sort(np.maximum(np.concatenate(tied), 0))[::-1][:depth]
    return gained / float((ideal * discounts[: len(ideal)]).sum())
