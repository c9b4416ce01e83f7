"""Neural collapse: classes that shrink to points, points that stand symmetrically, classifiers that point at them, and its loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dipole.core.errors import DataError, ParameterError
from dipole.core.unions import root
from dipole.diagnostics.vectors import BLOCK, classes, matrix


@dataclass(frozen=True)
class NeuralCollapse:
    """How far K classes are from collapse; every figure is 0 there, but ``nearest_mean`` is 1.

    ``nc1`` spread within classes beside the spread between them · ``equal_norms`` and ``equal_angles`` coefficients of variation of the
    centred means' lengths and of their cosines · ``to_simplex`` distance of the centred means' Gram matrix from a simplex's ·
    ``to_orthogonal`` distance of the plain means' Gram matrix from an orthogonal frame's · ``nc3`` distance of the classifier from the
    centred means, None without one · ``nearest_mean`` share of items that lie nearest to their own class's mean.
    """

    nc1: float
    equal_norms: float
    equal_angles: float
    to_simplex: float
    to_orthogonal: float
    nc3: float | None
    nearest_mean: float


@torch.no_grad()
def neural_collapse(x: torch.Tensor, labels: torch.Tensor, classifier: torch.Tensor | None = None) -> NeuralCollapse:
    """How symmetrically classes have collapsed.

        nc1 = tr(S_W S_B^+) / K,    S_W = mean_i (x_i - m_c(i)) (x_i - m_c(i))^T,   S_B = mean_c (m_c - m) (m_c - m)^T
        equal_norms = std_c |m_c - m| / mean_c |m_c - m|,    equal_angles = std of cos(m_c - m, m_k - m) over pairs c != k
        to_simplex = | G / |G|_F - I' / |I'|_F |_F  with G the Gram matrix of m_c - m and I' = I - 1 1^T / K
        to_orthogonal = the same with G of the m_c and I' = I
        nc3 = | W / |W|_F - M / |M|_F |_F  with the rows of M the m_c - m

    m is the mean of the class means, so classes weigh alike whatever their size.
    Range: from 0; nc1 below about 0.1 is collapse; the distances reach 2.
    Healthy: with supervised contrastive training towards 0 late in training; for transfer, full collapse loses what differs inside
      classes.
    Source: Papyan, Han & Donoho 2020, arXiv:2008.08186 (NC1 to NC4); the orthogonal frame, reached with non-negative features for
      any class sizes: Kini et al. 2023, arXiv:2306.07960. S_B^+ is formed from the K means, so d may exceed N.
    Cost: O(N d K), memory O(N K + K d).
    Shapes: x (N, d), labels (N,) int64, classifier (K, d), its rows in the order of the labels' values.
    Errors: DataError, also for fewer than two classes, a class of one item, or class means that are all the same.

    >>> found = neural_collapse(torch.eye(3).repeat(2, 1), torch.arange(3).repeat(2))
    >>> found.nc1, round(found.to_simplex, 6), round(found.to_orthogonal, 6), found.nearest_mean
    (0.0, 0.0, 0.0, 1.0)
    """
    x = matrix("neural_collapse", x).double()
    of = classes("neural_collapse", labels, len(x), 2)
    sizes = torch.bincount(of)
    if int(sizes.min()) < 2:
        raise DataError(f"neural_collapse: {int((sizes < 2).sum())} of {len(sizes)} classes have one item, so they have no spread")
    means = torch.zeros(len(sizes), x.shape[1], dtype=torch.float64, device=x.device).index_add_(0, of, x) / sizes[:, None]
    apart = means - means.mean(0)
    lengths = apart.norm(dim=1)
    _, values, axes = torch.linalg.svd(apart, full_matrices=False)
    used = values > values[0] * 1e-10
    if not bool(values[0] > means.abs().max() * 1e-12):
        raise DataError("neural_collapse: all class means are the same")
    within = 0.0
    right = 0
    for start in range(0, len(x), BLOCK):
        rows, own = x[start : start + BLOCK], of[start : start + BLOCK]
        along = (rows - means[own]) @ axes[used].T / values[used]
        within += float(along.square().sum()) / len(x)
        right += int((torch.cdist(rows, means).argmin(1) == own).sum())
    k = len(sizes)
    unit = apart / lengths.clamp(min=torch.finfo(torch.float64).tiny)[:, None]
    cosines = (unit @ unit.T)[~torch.eye(k, dtype=torch.bool, device=x.device)]
    eye = torch.eye(k, dtype=torch.float64, device=x.device)
    dual = None
    if classifier is not None:
        weights = matrix("neural_collapse: classifier", classifier, 1).double()
        if weights.shape != means.shape:
            raise DataError("neural_collapse: classifier must have one row a class", value=(tuple(weights.shape), tuple(means.shape)))
        dual = _between(weights, apart)
    return NeuralCollapse(
        nc1=within,
        equal_norms=float(lengths.std(correction=0) / lengths.mean()),
        equal_angles=float(cosines.std(correction=0)),
        to_simplex=_between(apart @ apart.T, eye - 1 / k),
        to_orthogonal=_between(means @ means.T, eye),
        nc3=dual,
        nearest_mean=right / len(x),
    )


def lowest_supcon(labels: torch.Tensor, temperature: float) -> float:
    """The least that supervised contrastive loss can be on non-negative unit features, whatever the class sizes.

        mean_i log( n_c(i) - 1 + (n - n_c(i)) e^{-1/t} ),   n_c the size of class c;  0 for the only item of a class

    It is met where each class lies in one point and different classes are orthogonal, and only there. A batch's loss (``supcon`` of
    vectors through a ReLU, as the score ``relu_cosine`` has them) is compared with that of the batch's own labels.
    Range: at least 0, nats; vectors with signs can be below it.
    Healthy: what is left to the loss beside it falls towards 0 in training.
    Source: Kini et al. 2023, arXiv:2306.07960, theorem 1.
    Cost: O(N log N).
    Shapes: labels (N,) int64.
    Errors: DataError, ParameterError.

    >>> round(lowest_supcon(torch.tensor([0] * 8 + [1] * 4 + [2] * 2), temperature=0.5), 5)
    1.73275
    """
    of = classes("lowest_supcon", labels, len(labels))
    if not 0 < temperature < math.inf:
        raise ParameterError("lowest_supcon", "temperature", "a number above 0", temperature)
    sizes = torch.bincount(of).double()[of]
    terms = torch.where(sizes > 1, (sizes - 1 + (len(of) - sizes) * math.exp(-1 / temperature)).log(), 0.0)
    return float(terms.mean())


def batches_bind(batches: Sequence[torch.Tensor], labels: torch.Tensor) -> bool:
    """Whether batches that are seen again and again leave supervised contrastive training one best geometry only.

    True where (a) the items of each class hang together, an item with every other it shares a batch with, and (b) every two classes
    meet in some batch. Otherwise a class may take another direction in each part of the batches, or two classes the same one.
    A few items, one a class, that are in every batch bring both about.
    Source: Kini et al. 2023, arXiv:2306.07960, section 5 (batch binding).
    Cost: O(sum of the batches' sizes + K^2).
    Shapes: batches of (B,) int64, rows of labels (N,) int64; items in no batch are left out.
    Errors: DataError.

    >>> apart = [torch.tensor([0, 1]), torch.tensor([2, 3])]
    >>> labels = torch.tensor([0, 1, 0, 1])
    >>> batches_bind(apart, labels), batches_bind([torch.tensor([0, 1, 2, 3])], labels)
    (False, True)
    """
    of = classes("batches_bind", labels, len(labels)).tolist()
    parent = list(range(len(of)))
    met: set[tuple[int, int]] = set()
    seen: set[int] = set()
    for batch in batches:
        rows = batch.tolist()
        if any(not 0 <= row < len(of) for row in rows):
            raise DataError("batches_bind: a batch names a row that has no label", value=max(rows))
        first: dict[int, int] = {}
        for row in rows:
            parent[root(parent, row)] = root(parent, first.setdefault(of[row], row))
        met.update((a, b) for a in first for b in first)
        seen.update(rows)
    groups: dict[int, set[int]] = {}
    for row in seen:
        groups.setdefault(of[row], set()).add(root(parent, row))
    return all(len(tops) == 1 for tops in groups.values()) and all((a, b) in met for a in groups for b in groups)


def _between(a: torch.Tensor, b: torch.Tensor) -> float:
    """The distance of two matrices once each has norm 1."""
    return float((a / a.norm() - b / b.norm()).norm())
