"""Mixtures of two items that stand for a third: ``between`` finds pairs whose numbers lie on both sides of an anchor's."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, eq=False)
class Between:
    """For each anchor up to R mixtures: ``vectors`` (n, R, d), constants, and which of them are ``there`` (n, R)."""

    vectors: torch.Tensor
    there: torch.Tensor


@torch.no_grad()
def between(vectors: torch.Tensor, numbers: torch.Tensor, anchors: slice, window: float, most: int, chance: torch.Generator) -> Between:
    """Mixtures c z_j + (1 - c) z_k with c y_j + (1 - c) y_k = y_i and y_j < y_i < y_k, both within ``window`` of y_i (not at its edge).

    ``vectors`` (N, d), ``numbers`` (N,), ``anchors``: the rows i that are wanted. Where an anchor has more than ``most`` such pairs, so
    many are drawn with replacement; draws are made for all N rows, whichever are wanted.
    """
    y, order = numbers.double().sort(stable=True)
    mine = numbers.double()[anchors]
    low = torch.searchsorted(y, mine - window, right=True)
    high = torch.searchsorted(y, mine, right=True)
    below, above = torch.searchsorted(y, mine) - low, torch.searchsorted(y, mine + window) - high
    pairs = (below * above)[:, None]
    drawn = torch.rand(len(numbers), most, generator=chance, dtype=torch.float64).to(y.device)[anchors]
    listed = torch.arange(most, device=y.device).expand_as(drawn)
    which = torch.where(pairs <= most, listed, (drawn * pairs).long())
    there = which < pairs
    which = torch.where(there, which, 0)
    width = above.clamp(min=1)[:, None]
    left = order[(low[:, None] + which // width).clamp(max=len(y) - 1)]
    right = order[(high[:, None] + which % width).clamp(max=len(y) - 1)]
    span = numbers.double()[right] - numbers.double()[left]
    share = torch.where(there, (numbers.double()[right] - mine[:, None]) / torch.where(there, span, 1.0), 0.0).to(vectors.dtype)[..., None]
    return Between(share * vectors[left] + (1 - share) * vectors[right], there)
