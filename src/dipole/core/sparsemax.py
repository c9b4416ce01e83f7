"""Sparsemax: the nearest point of the simplex, which is a softmax that says exactly 0 to most.

    w_k = max(u_k - theta, 0),   theta = (sum of the r largest u - 1) / r,   r = max {j: 1 + j u_(j) > sum_{i <= j} u_(i)}

Source: arXiv:1602.02068, algorithm 1. The gradient reaches the support only.

>>> sparsemax(torch.tensor([1.0, 0.6, -1.0]))
tensor([0.7000, 0.3000, 0.0000])
"""

from __future__ import annotations

import torch


def sparsemax(scores: torch.Tensor) -> torch.Tensor:
    """(..., K) -> (..., K), along the last axis: at least 0, sum 1. Entries of minus infinity get 0; not all of a row may be that."""
    shifted = scores - scores.detach().amax(-1, keepdim=True)  # the result is the same, the sums stay small
    ordered = shifted.sort(-1, descending=True).values
    rank = torch.arange(1, scores.shape[-1] + 1, device=scores.device, dtype=scores.dtype)
    support = 1 + rank * ordered > ordered.cumsum(-1)
    held = ordered.where(support, 0.0)
    theta = (held.sum(-1, keepdim=True) - 1) / support.sum(-1, keepdim=True)
    return (shifted - theta).clamp(min=0)
