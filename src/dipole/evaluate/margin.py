"""Margin scores of candidates (Artetxe and Schwenk 2019, arXiv:1811.01136, ratio), and mining pairs by them.

margin(x, y) = cos(x, y) / ( mean of cos(x, its k nearest y') / 2 + mean of cos(y, its k nearest x') / 2 )
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch

from dipole.evaluate.bootstrap import Floats, weighted_intervals
from dipole.evaluate.labelled import Codes
from dipole.pairwise.reductions import Top


def margins(there: Top, back: Top) -> torch.Tensor:
    """(N, k) margins of each item's candidates. Neighbourhoods of no positive cosine count as 1e-6."""
    mean_there, mean_back = there.values.double().mean(dim=1), back.values.double().mean(dim=1)
    return there.values.double() / ((mean_there[:, None] + mean_back[there.ids]) / 2).clamp_min(1e-6)


def best(top: Top, margins: torch.Tensor) -> Codes:
    """(N,) the candidate of largest margin."""
    found: Codes = top.ids.gather(1, margins.argmax(dim=1, keepdim=True))[:, 0].numpy()
    return found


def mine(there: Top, back: Top, margin_there: torch.Tensor, margin_back: torch.Tensor) -> list[tuple[float, int, int]]:
    """(margin, source, target), best first: the best of every source and of every target, each used once."""
    candidates = {(int(s), int(t)): float(m) for s, (t, m) in enumerate(zip(best(there, margin_there), margin_there.amax(1), strict=True))}
    for t, (s, m) in enumerate(zip(best(back, margin_back), margin_back.amax(1), strict=True)):
        candidates[(int(s), t)] = float(m)
    used_sources, used_targets, chosen = set(), set(), []
    for (s, t), margin in sorted(candidates.items(), key=lambda item: (-item[1], item[0])):
        if s not in used_sources and t not in used_targets:
            used_sources.add(s)
            used_targets.add(t)
            chosen.append((margin, s, t))
    return chosen


class Mined:
    """Mined pairs beside ``gold`` ones, (source, target) as often as they are wanted: a mined pair uses one up."""

    def __init__(self, pairs: Sequence[tuple[float, int, int]], gold: Sequence[tuple[int, int]]) -> None:
        wanted, right = Counter(gold), []
        for _, source, target in pairs:
            right.append(wanted[(source, target)] > 0)
            wanted[(source, target)] -= 1
        self._right = np.array(right, dtype=np.float64)
        self._ends = np.flatnonzero(np.append(np.diff([m for m, _, _ in pairs]) != 0, True))
        self._gold = len(gold)

    def figures(self) -> dict[str, float]:
        return {name: float(values[0]) for name, values in self._at_best(np.ones((1, len(self._right))), np.array([self._gold])).items()}

    def intervals(self, seed: int, samples: int) -> dict[str, tuple[float, float]]:
        """Over mined pairs and the gold pairs that were not mined, which keep the threshold honest about recall."""
        missed = self._gold - int(self._right.sum())
        size = len(self._right)

        def figures(weights: Floats) -> dict[str, Floats]:
            mined = weights[:, :size]
            return self._at_best(mined, mined @ self._right + weights[:, size:].sum(axis=1))

        return weighted_intervals([size + missed], figures, seed, samples)

    def _at_best(self, weights: Floats, gold: Floats | Codes) -> dict[str, Floats]:
        tp = np.cumsum(weights * self._right, axis=1)[:, self._ends]
        taken = np.cumsum(weights, axis=1)[:, self._ends]
        f1 = 2 * tp / np.maximum(taken + gold[:, None], 1e-12)
        at = f1.argmax(axis=1)
        rows = np.arange(len(at))
        with np.errstate(invalid="ignore", divide="ignore"):
            precision, recall = tp[rows, at] / taken[rows, at], tp[rows, at] / gold
        return {"mining_precision": precision, "mining_recall": recall, "mining_f1": f1[rows, at]}
