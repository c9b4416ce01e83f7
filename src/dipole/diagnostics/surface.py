"""Whether similarity follows the surface of items, their length and shared words, instead of what they mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dipole.core.errors import DataError


@dataclass(frozen=True)
class SurfaceBias:
    """``correlation`` of similarity and surface, ranks, with gold similarity held fixed where it was given; ``error`` its standard error
    under no correlation; ``pairs`` how many."""

    correlation: float
    error: float
    pairs: int


@torch.no_grad()
def length_bias(cosines: torch.Tensor, first: torch.Tensor, second: torch.Tensor, gold: torch.Tensor | None = None) -> SurfaceBias:
    """Whether items of like length count as similar.

        Spearman's rho of cosine and | length_a - length_b | over pairs, partial in gold similarity where that is given

    Range: -1 to 1.
    Healthy: within about two ``error`` of 0; clearly negative: equal length is taken for similarity, as models trained on a text
      and itself learn. Without gold, longer pairs may honestly differ more: give it, or take pairs of one gold value.
    Source: Miao et al. 2023, DebCSE, arXiv:2309.07396 (both biases); Wu et al. 2022, ESimCSE, arXiv:2109.04380 (length).
    Cost: O(N log N).
    Shapes: all (N,), lengths in any one unit.
    Errors: DataError, also where one of them is constant.
    """
    return _bias("length_bias", cosines, "differences in length", (first.double() - second.double()).abs(), gold)


@torch.no_grad()
def overlap_bias(cosines: torch.Tensor, overlap: torch.Tensor, gold: torch.Tensor | None = None) -> SurfaceBias:
    """Whether shared words count as shared meaning.

        Spearman's rho of cosine and word overlap over pairs, partial in gold similarity where that is given

    Range: -1 to 1.
    Healthy: near 0 with gold held fixed; positive: words are matched rather than meaning.
    Source: Miao et al. 2023, DebCSE, arXiv:2309.07396.
    Cost: O(N log N).
    Shapes: all (N,); :func:`word_overlap` gives the overlap of texts.
    Errors: DataError.
    """
    return _bias("overlap_bias", cosines, "overlaps", overlap, gold)


def word_overlap(first: Sequence[str], second: Sequence[str]) -> torch.Tensor:
    """(N,) float64: words two texts share, of those either has (Jaccard); in lower case, split at white space; 0 for two empty texts.

    >>> word_overlap(["A dog runs", ""], ["the dog runs", ""]).tolist()
    [0.5, 0.0]
    """
    if len(first) != len(second):
        raise DataError("word_overlap: both sides must have as many texts", value=(len(first), len(second)))
    words = [(set(a.lower().split()), set(b.lower().split())) for a, b in zip(first, second, strict=True)]
    return torch.tensor([len(a & b) / max(1, len(a | b)) for a, b in words], dtype=torch.float64)


def rank_correlation(a: torch.Tensor, b: torch.Tensor, given: torch.Tensor | None = None) -> float:
    """Spearman's rho of (N,) and (N,), equal values with average ranks; partial in ``given``. NaN where one is constant.

    >>> round(rank_correlation(torch.tensor([1.0, 2.0, 9.0]), torch.tensor([3.0, 4.0, 5.0])), 9)
    1.0
    """
    ranked = [_ranks(side) for side in (a, b)]
    r = _pearson(*ranked)
    if given is None:
        return r
    fixed = _ranks(given)
    to_a, to_b = (_pearson(side, fixed) for side in ranked)
    left = (1 - to_a**2) * (1 - to_b**2)
    return (r - to_a * to_b) / math.sqrt(left) if left > 0 else math.nan


def _bias(name: str, cosines: torch.Tensor, of: str, surface: torch.Tensor, gold: torch.Tensor | None) -> SurfaceBias:
    columns = [cosines, surface] + ([] if gold is None else [gold])
    n = len(cosines)
    if any(c.shape != (n,) for c in columns) or n < 4:
        raise DataError(f"{name}: needs one value each for at least four pairs", value=[tuple(c.shape) for c in columns])
    for what, column in zip(("cosines", of, "gold"), columns, strict=False):
        if not bool(torch.isfinite(column.double()).all()):
            raise DataError(f"{name}: the {what} must be finite")
        if what != "gold" and bool((column == column[0]).all()):
            raise DataError(f"{name}: the {what} are all equal, so no correlation exists", value=float(column[0]))
    constant = gold is None or bool((gold == gold[0]).all())
    found = rank_correlation(cosines, surface, None if constant else gold)
    return SurfaceBias(found, 1 / math.sqrt(n - (2 if constant else 3)), n)


def _ranks(values: torch.Tensor) -> torch.Tensor:
    """Average ranks from 1, float64."""
    _, which, counts = values.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    ranks: torch.Tensor = last - (counts - 1).double() / 2
    return ranks[which]


def _pearson(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(a.norm() * b.norm())
    return float(a @ b) / scale if scale else math.nan
