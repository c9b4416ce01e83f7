"""Telling two classes apart by a score: average precision, AUROC, best thresholds, and the same on bootstrap resamples.

Items are sorted once; a resample is a row of counts, so 2,000 of them are cumulative sums. Equal scores are one step: no threshold
lies between them, and they count half in AUROC.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dipole.evaluate.bootstrap import Floats


@dataclass(frozen=True, eq=False)
class Curve:
    """For S resamples and G distinct scores, best first: ``tp`` and ``fp`` (S, G) are how many positives and negatives score at
    least that much; ``cuts`` (G,) the threshold that accepts these and no more, midway to the next score.
    """

    tp: Floats
    fp: Floats
    cuts: Floats

    @property
    def positives(self) -> Floats:
        """(S, 1)"""
        return self.tp[:, -1:]

    @property
    def negatives(self) -> Floats:
        """(S, 1)"""
        return self.fp[:, -1:]

    def average_precision(self) -> Floats:
        """(S,) sum over steps of the gain in recall times the precision there; NaN without positives."""
        with np.errstate(invalid="ignore", divide="ignore"):
            gain = np.diff(self.tp, axis=1, prepend=0.0) / self.positives
            precision = np.nan_to_num(self.tp / (self.tp + self.fp))
        found: Floats = (gain * precision).sum(axis=1)
        return found

    def auroc(self) -> Floats:
        """(S,) share of positive-negative pairs in the right order, equal scores half; NaN where a class is missing."""
        with np.errstate(invalid="ignore", divide="ignore"):
            new = np.diff(self.fp, axis=1, prepend=0.0)
            below = self.tp - 0.5 * np.diff(self.tp, axis=1, prepend=0.0)
            found: Floats = (new * below).sum(axis=1) / (self.positives * self.negatives)[:, 0]
        return found

    def fpr_at(self, share: float) -> Floats:
        """(S,) share of negatives accepted by the highest threshold that accepts at least ``share`` of the positives."""
        place = np.argmax(self.tp >= share * self.positives - 1e-9, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Floats = self.fp[np.arange(len(place)), place] / self.negatives[:, 0]
        return found

    def f1(self) -> Floats:
        """(S, G) F1 of accepting down to each cut."""
        return 2 * self.tp / np.maximum(self.tp + self.fp + self.positives, 1e-12)

    def accuracy(self) -> Floats:
        """(S, G) share of right decisions when accepting down to each cut."""
        return (self.tp + self.negatives - self.fp) / (self.positives + self.negatives)

    def youden(self) -> Floats:
        """(S, G) share of positives accepted minus share of negatives accepted."""
        return self.tp / np.maximum(self.positives, 1e-12) - self.fp / np.maximum(self.negatives, 1e-12)

    def best(self, values: Floats) -> tuple[Floats, Floats]:
        """(S,) the best value over the cuts, and the highest cut that reaches it."""
        place = values.argmax(axis=1)
        return values[np.arange(len(place)), place], self.cuts[place]


class Scored:
    """(N,) scores and who of them is positive, sorted once."""

    def __init__(self, scores: ArrayLike, positive: ArrayLike) -> None:
        values = np.asarray(scores, dtype=np.float64)
        self._order = np.argsort(-values, kind="stable")
        ranked = values[self._order]
        self._positive = np.asarray(positive, dtype=bool)[self._order]
        self._ends: NDArray[np.int64] = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
        levels = ranked[self._ends]
        below = np.append(levels[1:], 2 * levels[-1] - levels[0] - 1e-6)  # the last cut accepts everything
        self.cuts = (levels + below) / 2

    def curve(self, weights: Floats | None = None) -> Curve:
        """The curve of (S, N) counts; of the items as they are without."""
        drawn = np.ones((1, len(self._order))) if weights is None else weights[:, self._order]
        return Curve(
            np.cumsum(drawn * self._positive, axis=1)[:, self._ends], np.cumsum(drawn * ~self._positive, axis=1)[:, self._ends], self.cuts
        )
