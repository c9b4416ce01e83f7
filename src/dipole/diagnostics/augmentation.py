"""What augmentations do to classes: concentration of views, alignment that fails, centres that diverge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dipole.core.errors import DataError, ParameterError
from dipole.diagnostics.vectors import classes, matrix, unit


@torch.no_grad()
def sigma_delta(views: torch.Tensor, labels: torch.Tensor, deltas: Sequence[float], per_class: int = 200, seed: int = 0) -> list[float]:
    """How concentrated augmentation makes the classes: sigma at each delta.

        d(i, j) = min over views a of i and b of j of |v_ia - v_jb|
        sigma(delta) = min over classes of the largest share of a class within which all d are at most delta

    Range: each from 1 / (class size) to 1, never falling in delta.
    Healthy: compare policies at equal delta: the larger sigma, the better the classes are tied together by what their views share;
      more views can only raise it.
    Source: Huang et al. 2023, arXiv:2111.00743, definition 1. The largest such part is a maximum clique, for which no quick method
      exists: this is the best greedy clique over up to 32 starts, so a lower bound; how the paper estimates it could not be
      confirmed. Views are compared as given: inputs, or the features of a fixed model.
    Cost: up to ``per_class`` items of a class are drawn, m; O(classes m^2 A^2 D), memory O(m^2 + m A^2).
    Shapes: views (N, A, D) with A views an item, labels (N,) int64, deltas at least 0.
    Errors: DataError, ParameterError.

    >>> views = torch.tensor([[[0.0], [1.0]], [[1.5], [3.0]], [[9.0], [8.0]]])
    >>> sigma_delta(views, torch.tensor([0, 0, 0]), [0.4, 0.5, 10.0])
    [0.3333333333333333, 0.6666666666666666, 1.0]
    """
    if views.dim() != 3:
        raise DataError("sigma_delta: views must be (N, A, D), A views of each of N items", value=tuple(views.shape))
    flat = matrix("sigma_delta", views.flatten(0, 1), 1)
    views = flat.reshape(views.shape)
    of = classes("sigma_delta", labels, len(views))
    if not (isinstance(per_class, int) and per_class >= 2):
        raise ParameterError("sigma_delta", "per_class", "a whole number of at least 2", per_class)
    if not deltas or not all(0 <= d < math.inf for d in deltas):
        raise ParameterError("sigma_delta", "deltas", "numbers of at least 0, one or more", list(deltas))
    ordered = sorted(set(deltas))
    chance = torch.Generator().manual_seed(seed)
    least = [1.0] * len(ordered)
    for label in range(int(of.max()) + 1):
        members = (of == label).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=chance)[:per_class].to(members.device)]
        apart = _between_items(views[members])
        reached = 0.0
        for place, delta in enumerate(ordered):  # a clique stays one when delta grows
            reached = max(reached, _clique(apart <= delta) / len(members))
            least[place] = min(least[place], reached)
    at = dict(zip(ordered, least, strict=True))
    return [at[delta] for delta in deltas]


@torch.no_grad()
def alignment_failure(views: torch.Tensor, epsilon: float) -> float:
    """How often some two views of an item are encoded far apart.

        R_eps = share of items i with max_{a, b} |f(v_ia) - f(v_ib)| > eps        on unit vectors

    Range: 0 to 1, never rising in eps.
    Healthy: near 0 at an eps well below the distance of classes.
    Source: Huang et al. 2023, arXiv:2111.00743, section 3.
    Cost: O(N A^2 d).
    Shapes: views (N, A, d), the encoded views, A at least 2.
    Errors: DataError.

    >>> alignment_failure(torch.tensor([[[1.0, 0], [1, 0]], [[1, 0], [0, 1]]]), epsilon=0.5)
    0.5
    """
    if views.dim() != 3 or views.shape[1] < 2:
        raise DataError("alignment_failure: views must be (N, A, d) with at least two views an item", value=tuple(views.shape))
    shaped = unit("alignment_failure", views.flatten(0, 1), 1).reshape(views.shape)
    return float((torch.cdist(shaped, shaped, compute_mode="donot_use_mm_for_euclid_dist").amax((1, 2)) > epsilon).double().mean())


@dataclass(frozen=True)
class ClassDivergence:
    """``closest`` the largest m_k . m_l of two different centres; ``spread`` Delta, how far centres fall short of length 1; ``error`` the
    share of items whose nearest centre is another class's; ``centres`` (K, K) all m_k . m_l."""

    closest: float
    spread: float
    error: float
    centres: torch.Tensor

    def needs(self, rho: float) -> float:
        """What ``closest`` must stay below for the theorem to bound the error by 1 - sigma + R_eps: 1 - rho - sqrt(2 rho) - Delta / 2."""
        return 1 - rho - math.sqrt(2 * rho) - self.spread / 2


@torch.no_grad()
def class_divergence(x: torch.Tensor, labels: torch.Tensor) -> ClassDivergence:
    """How far the centres of classes have moved apart.

        m_k = mean of unit vectors of class k;   closest = max_{k != l} m_k . m_l;   Delta = 1 - min_k |m_k|^2

    Range: closest -1 / (K - 1) or less to 1, Delta 0 (each class in one point) to 1.
    Healthy: closest near 0 or below.
    Source: Huang et al. 2023, arXiv:2111.00743, theorem 1.
    Cost: O(N d K).
    Shapes: x (N, d), labels (N,) int64.
    Errors: DataError, also for one class.

    >>> found = class_divergence(torch.eye(3), torch.arange(3))
    >>> found.closest, found.spread, found.error, found.needs(rho=0.08)
    (0.0, 0.0, 0.0, 0.52)
    """
    x = unit("class_divergence", x)
    of = classes("class_divergence", labels, len(x), 2)
    sums = torch.zeros(int(of.max()) + 1, x.shape[1], dtype=torch.float64, device=x.device).index_add_(0, of, x.double())
    means = sums / torch.bincount(of).double()[:, None]
    centres = means @ means.T
    apart = centres[~torch.eye(len(means), dtype=torch.bool, device=x.device)]
    nearest = torch.cat([torch.cdist(block.double(), means).argmin(1) for block in x.split(65536)])
    return ClassDivergence(
        closest=float(apart.max()),
        spread=1 - float(centres.diagonal().min()),
        error=float((nearest != of).double().mean()),
        centres=centres,
    )


def concentration_cost(sigma: float, delta: float, failure: float, epsilon: float, smallest_class: float, lipschitz: float) -> float:
    """rho of the (sigma, delta) theorem, for unit vectors: what concentration and alignment leave to be paid.

        rho = 2 (1 - sigma) + R_eps / min_k p_k + sigma (L delta + 2 eps)

    Source: Huang et al. 2023, arXiv:2111.00743, theorem 1. ``smallest_class``: the smallest class's share; ``lipschitz``: L of the
      encoder.

    >>> round(concentration_cost(sigma=1.0, delta=0.01, failure=0.0, epsilon=0.01, smallest_class=0.1, lipschitz=2.0), 6)
    0.04
    """
    return 2 * (1 - sigma) + failure / smallest_class + sigma * (lipschitz * delta + 2 * epsilon)


def _between_items(views: torch.Tensor) -> torch.Tensor:
    """(m, m) smallest distance of any two views."""
    m, a = views.shape[:2]
    flat = views.flatten(0, 1)
    rows = [torch.cdist(item, flat, compute_mode="donot_use_mm_for_euclid_dist").reshape(a, m, a).amin((0, 2)) for item in views]
    return torch.stack(rows)


def _clique(near: torch.Tensor) -> int:
    """Items of the largest greedy clique: from each start, the item that keeps most candidates is added until none is left."""
    near = near.cpu() & ~torch.eye(len(near), dtype=torch.bool)
    best = 1
    for start in near.sum(1).argsort(descending=True, stable=True)[:32].tolist():
        candidates, size = near[start].clone(), 1
        while bool(candidates.any()) and size + int(candidates.sum()) > best:
            left = candidates.nonzero().flatten()
            keeps = near[left][:, left].sum(1)
            candidates &= near[left[keeps.argmax()]]
            size += 1
        best = max(best, size)
    return best
