"""Poly-view, arithmetic: as the geometric one, with the mean over the item's other views inside the logarithm.

    l_i = mean_a -log mean_{b != a}  f_ab / (f_ab + sum_{j != i} sum_c f(x_ia, x_jc)),   f = e^{s / t},  f_ab = f(x_ia, x_ib)

One value per item, nats.

Shapes: N items of V views, pairs from ``stacked``. Source: arXiv:2403.05490, the arithmetic poly-view loss.
Relation: never above poly_view (Jensen), equal to it where all of a view's shares are equal, and for V = 2 both are NT-Xent. One
view that agrees is enough, so hard views count less.
Errors: DegenerateBatchError on a single item; DataError unless the pairs are stacked.

>>> import torch
>>> from dipole.core.stacked import stacked
>>> PolyViewArithmetic(temperature=1.0)(stacked(torch.eye(4).reshape(2, 2, 4)))
tensor([1.0986, 1.0986])
"""

from __future__ import annotations

import math

import torch

from dipole.core.pairs import Pairs
from dipole.core.part import part, positive
from dipole.losses.multiview.poly_view import PolyView

__all__ = ["PolyViewArithmetic"]


@part
class PolyViewArithmetic:
    """The mean share of the other views, in nats per item."""

    temperature: float = positive(0.1, "scores are divided by it")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        ratios = PolyView(temperature=self.temperature).log_ratios(pairs)
        views = ratios.shape[1]
        shares = ratios.masked_fill(torch.eye(views, dtype=torch.bool, device=ratios.device), -torch.inf)
        return math.log(views - 1) - shares.logsumexp(2).mean(1)
