"""MGDA: the terms are weighed so that one step lowers all of them: the shortest vector in the hull of their gradients.

    a = argmin | sum_l a_l g_l |^2,   a_l >= 0, sum_l a_l = 1,   g_l = dL_l / dZ;       L = sum_l a_l L_l, a without a gradient

Gradients are taken with respect to the encoder's vectors Z, which bounds the problem on its weights from above and costs one
backward through the losses a term, none through the encoder; so gradient caching stays exact.
Source: arXiv:1810.04650, eqs. 3 to 6; two terms in closed form, a_1 = (g_2 - g_1) . g_2 / |g_1 - g_2|^2 cut to 0..1; more by
Frank-Wolfe. Where the shortest vector is 0 the terms are at odds: no step lowers all.
Weights in the recipe scale the gradients before. A term that has no gradient in this batch (a hinge that is met) gets weight 0, where
the formula would give it all and stop the others. What a loss learns by itself (a temperature) follows its weight too.
Relation: uncertainty looks at values instead of gradients.

>>> import torch
>>> from dipole.core.protocols import Terms
>>> z = torch.tensor([1.0, 1.0], requires_grad=True)
>>> MGDA()(Terms(torch.stack([3 * z[0], z[1]]), [z], lambda x: x))[0]  # orthogonal gradients of lengths 3 and 1
tensor([0.1000, 0.9000])
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dipole.core.part import part
from dipole.core.protocols import Terms
from dipole.core.vectors import wide

__all__ = ["MGDA"]

_ENOUGH = 1e-12  # of the squared length of the longest gradient
_STEPS = 1000


@part
class MGDA:
    """The min-norm point of the terms' gradients."""

    def begin(self, count: int) -> None:
        """There is nothing to learn."""

    def __call__(self, terms: Terms) -> tuple[torch.Tensor, torch.Tensor]:
        """(L,) weights that add up to 1, and no penalty."""
        gradients = torch.stack([_gradient(share, terms.vectors) for share in terms.shares])
        weights = min_norm_weights(terms.add_up(gradients @ gradients.T).double())
        return weights.to(terms.shares), terms.shares.new_zeros(())


def min_norm_weights(gram: torch.Tensor) -> torch.Tensor:
    """(L,) weights a of the shortest vector sum_l a_l g_l with a on the simplex, from the inner products (L, L) of the g_l.

    Terms without a gradient get weight 0; where none has one, all weigh alike.
    """
    live = (gram.diagonal() > 0).nonzero()[:, 0]
    weights = gram.new_zeros(len(gram))
    if len(live) == 0:
        return weights + 1 / len(gram)
    inner = gram[live][:, live]
    weights[live] = _two(inner) if len(live) == 2 else _frank_wolfe(inner / inner.diagonal().max())
    return weights


def _two(gram: torch.Tensor) -> torch.Tensor:
    """The closed form for two gradients."""
    apart = gram[0, 0] + gram[1, 1] - 2 * gram[0, 1]
    if apart <= _ENOUGH * gram.diagonal().max():
        return torch.full_like(gram[0], 0.5)  # one and the same gradient
    first = ((gram[1, 1] - gram[0, 1]) / apart).clamp(0, 1)
    return torch.stack([first, 1 - first])


def _frank_wolfe(gram: torch.Tensor) -> torch.Tensor:
    """Weight moves from the worst gradient that has some to the best one, as far as it helps, until nothing would."""
    weights = torch.full_like(gram[0], 1 / len(gram))
    for _ in range(_STEPS):
        slope = gram @ weights
        best, worst = slope.argmin(), slope.where(weights > 0, -torch.inf).argmax()
        gain = slope[worst] - slope[best]
        if gain <= _ENOUGH:
            break
        curve = gram[best, best] + gram[worst, worst] - 2 * gram[best, worst]
        moved = torch.minimum(gain / curve, weights[worst])
        weights[best] += moved
        weights[worst] -= moved
    return weights


def _gradient(share: torch.Tensor, vectors: Sequence[torch.Tensor]) -> torch.Tensor:
    """The gradient of one term on all vectors, flat; 0 where it does not reach."""
    found = torch.autograd.grad(share, vectors, retain_graph=True, allow_unused=True) if share.requires_grad else [None] * len(vectors)
    return torch.cat([wide(torch.zeros_like(v) if g is None else g).flatten() for v, g in zip(vectors, found, strict=True)])
