"""WEAT: whether two groups of items lean towards two groups of attributes."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch

from dipole.core.errors import DataError, ParameterError
from dipole.diagnostics.vectors import same_dimension, unit


@dataclass(frozen=True)
class Association:
    """``effect`` in standard deviations; ``p`` of a split at least as extreme by chance, one-sided; ``splits`` how many were looked at;
    ``exact`` whether that was all of them."""

    effect: float
    p: float
    splits: int
    exact: bool


@torch.no_grad()
def weat(x: torch.Tensor, y: torch.Tensor, a: torch.Tensor, b: torch.Tensor, permutations: int = 10_000, seed: int = 0) -> Association:
    """Whether targets X lean to attributes A, and Y to B.

        s(w) = mean_a cos(w, a) - mean_b cos(w, b),   effect = (mean_X s - mean_Y s) / std_{X u Y} s
        p = share of splits of X u Y into parts of |X| and |Y| whose mean difference is at least that of X and Y

    Range: the effect is within -2 and 2 for target sets of one size; 0.2 is small, 0.8 large.
    Healthy: p not small.
    Source: Caliskan, Bryson & Narayanan 2017, arXiv:1608.07187, methods. The standard deviation is the sample's. The observed split
      counts among the splits, so p is never 0 and valid (Phipson & Smyth 2010); all splits are enumerated where there are at most
      ``permutations``, otherwise that many are drawn.
    Cost: O((|X| + |Y|) (|A| + |B|) d).
    Shapes: x, y, a, b (n, d), x and y of at least two.
    Errors: DataError, ParameterError.

    >>> e = torch.eye(2)
    >>> lean = weat(e[[0, 0]] + 0.1, e[[1, 1]] + 0.1, e[:1], e[1:])
    >>> round(lean.effect, 3), round(lean.p, 4), lean.exact
    (1.732, 0.1667, True)
    """
    if not (isinstance(permutations, int) and permutations >= 1):
        raise ParameterError("weat", "permutations", "a whole number above 0", permutations)
    targets = [unit("weat", side).double() for side in (x, y)]
    attributes = [unit("weat", side, 1).double() for side in (a, b)]
    for side in (targets[1], *attributes):
        same_dimension("weat", targets[0], side)
    both = torch.cat(targets)
    lean = both @ (attributes[0].mean(0) - attributes[1].mean(0))
    n, size = len(both), len(targets[0])
    spread = float(lean.std())
    if not spread > 1e-12:
        raise DataError("weat: all targets lean alike, so the effect is undefined", value=float(lean[0]))
    effect = float(lean[:size].mean() - lean[size:].mean()) / spread
    total, observed = float(lean.sum()), float(lean[:size].sum())
    exact = math.comb(n, size) <= permutations
    if exact:
        chosen = torch.tensor(list(itertools.combinations(range(n), size)))
        sums = lean[chosen].sum(1)
        reached = int((sums >= observed - 1e-12 * max(1.0, abs(total))).sum())
        return Association(effect, reached / len(sums), len(sums), True)
    chance = torch.Generator().manual_seed(seed)
    orders = torch.rand(permutations, n, generator=chance).argsort(1)[:, :size]
    reached = int((lean.cpu()[orders].sum(1) >= observed - 1e-12 * max(1.0, abs(total))).sum())
    return Association(effect, (reached + 1) / (permutations + 1), permutations + 1, False)
