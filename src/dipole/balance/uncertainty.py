"""Uncertainty weights: each term is divided by a learned noise of its own, which pays for growing.

    L = sum_l e^{-s_l} L_l + 1/2 sum_l s_l,   s_l = log sigma_l^2, learned from 0

Source: arXiv:1705.07115, eq. 10 (their likelihood of a softmax; the regression form only shifts s by log 2). At its best, s_l =
log(2 L_l) and term l weighs 1 / (2 L_l): all terms contribute alike, whatever their unit.
Relation: mgda looks at gradients instead of values. With s = 0 it is the plain sum of the terms.
Errors: DataError for a term below 0, whose weight would grow without end (alignment and uniformity, decoupled losses).

>>> import torch
>>> from dipole.core.protocols import Terms
>>> balance = Uncertainty()
>>> balance.begin(2)
>>> weights, penalty = balance(Terms(torch.tensor([4.0, 1.0]), [], lambda x: x))
>>> weights.tolist(), penalty.item()
([1.0, 1.0], 0.0)
"""

from __future__ import annotations

import torch
from torch import nn

from dipole.core.errors import DataError
from dipole.core.part import part
from dipole.core.protocols import Terms

__all__ = ["Uncertainty"]


@part
class Uncertainty(nn.Module):
    """One learned log-variance a term."""

    def begin(self, count: int) -> None:
        """Start from the plain sum of ``count`` terms."""
        self.log_variance = nn.Parameter(torch.zeros(count))

    def forward(self, terms: Terms) -> tuple[torch.Tensor, torch.Tensor]:
        """(L,) weights, and half the sum of the log-variances."""
        whole = terms.add_up(terms.shares)
        if bool((whole < 0).any()):
            rule = f"uncertainty: term {int(whole.argmin())} must not be negative, since its weight would grow without end"
            raise DataError(rule, value=float(whole.min()), remedy="balance such terms by fixed weights, or with mgda")
        return (-self.log_variance).exp(), self.log_variance.sum() / 2
