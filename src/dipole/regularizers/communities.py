"""Communities: nodes of a graph meet the centres of their community in the other view, and centres learn to hold dense parts.

    R = alpha ( c DeCA + (1 - c) L ),   alpha = max(0, 1 - e / (fade * stride)),   c = exp(-e / stride),   e: steps so far
    DeCA = mean over views of [softness sum_kl F_kl - (n - 1 + softness) tr F] / (n (n - 1)) + tr(P^T P) / (2 n),   F = P^T A P
    L = mean over views, nodes of -log e^{s(h_i, C_k)} / sum_l e^{s(h_i, C_l)} w_kl,   w_kl = exp(-nearness |C_k - C_l|^2)

Shapes: h (n, d) ``pooled`` of both sides, the two views of the whole graph; ``meta["neighbours"]`` (n, m) int64, the nodes each node has an
edge to, -1 beyond their number; P (n, K) soft communities by softmax of a node against K learned unit centres, which alone learn from
DeCA; C the means of the other view's nodes by their likeliest community k, constants. s = dot / t, or with ``gaussian`` -distance^2 / t^2.
Source: gCooL, arXiv:2110.14863, section 3; the schedule and that empty communities are told apart are from the authors' code, which
applies w only with ``gaussian``; set ``nearness`` 0 for its other form.
Relation: with one community a node L is InfoNCE between the views. DeCA has an optimum in one big community; its weight falls.
Errors: DataError where views differ in length or neighbours are missing; DegenerateBatchError on a single node.

>>> term = Communities(communities=2, dimension=3)
>>> term.density(torch.eye(2)[[0, 0, 0, 1, 1, 1]], torch.tensor([[1, 2], [0, 2], [0, 1], [4, 5], [3, 5], [3, 4]]))
tensor(-1.5000)
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.functional import normalize, one_hot

from dipole.core.encoded import Encoded
from dipole.core.errors import DataError
from dipole.core.part import at_least, part, positive, switch
from dipole.core.vectors import wide
from dipole.regularizers.sides import meta_of, pooled_sides

__all__ = ["Communities"]


@part
class Communities(nn.Module):
    """Soft communities by learned centres, and a softmax of nodes over the other view's communities."""

    dimension: int = at_least(1, about="d, the encoder's")
    communities: int = at_least(2, 10, "K")
    temperature: float = positive(0.4, "t")
    softness: float = at_least(0.0, 1.0, "lambda of the edge density")
    nearness: float = at_least(0.0, 8e-5, "gamma: how fast distant communities stop being negatives")
    gaussian: bool = switch(False, "compare by squared distance over t^2 instead of the dot product over t")
    stride: int = at_least(1, 500, "steps")
    fade: float = positive(0.2, "share of the stride after which the term is gone")

    reads = ("pooled", "meta")

    def __post_init__(self) -> None:
        self.centres = nn.Parameter(torch.randn(self.communities, self.dimension))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def over_encoded(self, sides: Mapping[str, Encoded]) -> torch.Tensor:
        """Scalar, float32 or better."""
        first, second = views = self._views(sides)
        near = [self.shares(h) for h in views]
        edges = meta_of(sides, "Communities", "neighbours")
        density = torch.stack([self.density(p, a) for p, a in zip(near, edges, strict=True)]).mean()
        contrast = (self.contrast(first, second, near[1]) + self.contrast(second, first, near[0])) / 2
        step = int(self.get_buffer("step"))
        early, alpha = math.exp(-step / self.stride), max(0.0, 1 - step / (self.fade * self.stride))
        self.get_buffer("step").add_(1)
        return alpha * (early * density + (1 - early) * contrast)

    def shares(self, h: torch.Tensor) -> torch.Tensor:
        """(n, K) P: how much each node belongs to each community; only the centres learn from it."""
        return self._score(h.detach(), normalize(wide(self.centres), dim=-1)).softmax(1)

    def density(self, shares: torch.Tensor, neighbours: torch.Tensor) -> torch.Tensor:
        """Scalar DeCA of one view, lower where edges lie within communities."""
        n, there = len(shares), neighbours >= 0
        kept = shares[neighbours.clamp(min=0)] * there[..., None]
        flow = shares.T @ kept.sum(1)
        within = self.softness * flow.sum() - (n - 1 + self.softness) * flow.trace()
        return within / (n * (n - 1)) + shares.square().sum() / (2 * n)

    def contrast(self, h: torch.Tensor, other: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """Scalar: nodes of one view against the communities of the other, whose ``shares`` say who is where."""
        of = shares.detach().argmax(1)
        member = one_hot(of, self.communities).to(other.dtype)
        sizes = member.sum(0)
        centres = member.T @ other.detach() / sizes.clamp(min=1)[:, None]
        weights = -self.nearness * (centres[:, None] - centres[None]).square().sum(2)
        logits = (self._score(h, centres) + weights[of]).masked_fill(sizes == 0, -torch.inf)
        return nn.functional.cross_entropy(logits, of)

    def _score(self, h: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
        if not self.gaussian:
            return h @ centres.T / self.temperature
        return -(h[:, None] - centres[None]).square().sum(2) / self.temperature**2

    def _views(self, sides: Mapping[str, Encoded]) -> tuple[torch.Tensor, torch.Tensor]:
        found = pooled_sides(sides, "Communities")
        if len(found) != 2 or found[0].shape != found[1].shape:
            raise DataError("Communities: needs two views of the same nodes", value=[tuple(v.shape) for v in found])
        return found[0], found[1]
