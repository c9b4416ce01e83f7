"""Whether vectors of two kinds live apart: the distance of their centres, and how well a line tells them apart."""

from __future__ import annotations

import math
from typing import Any

import torch

from dipole.core.errors import DataError, ParameterError
from dipole.core.extras import need
from dipole.diagnostics.estimate import Estimate, drawn
from dipole.diagnostics.vectors import classes, matrix, sides


@torch.no_grad()
def modality_gap(x: torch.Tensor, y: torch.Tensor) -> float:
    """How far the centres of two modalities (or of queries and keys) lie apart.

        | mean_i x_i - mean_i y_i |        on unit vectors

    Range: 0 to 2.
    Healthy: small beside the distance of pairs, sqrt(alignment). A gap need not hurt retrieval from one side to the other; it does
      hurt mixed collections and arithmetic between sides.
    Source: Liang et al. 2022, arXiv:2203.02053, section 2; Fahim et al. 2024, arXiv:2405.18570, show that contrastive training
      itself makes it.
    Cost: O(N d).
    Shapes: x, y (N, d).
    Errors: DataError.

    >>> modality_gap(torch.tensor([[1.0, 0.0]]), torch.tensor([[-2.0, 0.0]]))
    2.0
    """
    x, y = sides("modality_gap", x, y, 1)
    return float((x.mean(0, dtype=torch.float64) - y.mean(0, dtype=torch.float64)).norm())


def modality_separability(x: torch.Tensor, y: torch.Tensor, folds: int = 5, rows: int | None = 2000, seed: int = 0) -> Estimate:
    """How well a line tells the two sides apart: cross-validated accuracy on unit vectors.

    Range: about 0.5 (the sides are mixed) to 1 (fully apart). Always on held-out pairs, since with fewer vectors than dimensions
      any two sets are separable; both halves of a pair are in the same fold, since a copy with the other label in training would
      pull it below 0.5.
    Source: Fahim et al. 2024, arXiv:2405.18570, section 3 (linear separability).
    Cost: ``rows`` pairs (default 2000) are drawn; ``error`` is the binomial standard error.
    Shapes: x, y (N, d), N at least ``folds``. Needs scikit-learn.
    Errors: DataError.
    """
    x, y = sides("modality_separability", x, y)
    chosen = drawn("modality_separability", len(x), rows, seed)
    if chosen is not None:
        x, y = x[chosen.to(x.device)], y[chosen.to(x.device)]
    group = torch.arange(len(x)).repeat(2)
    return _cross_validated("modality_separability", torch.cat([x, y]), torch.arange(2).repeat_interleave(len(x)), group, folds, seed)


def separability(x: torch.Tensor, labels: torch.Tensor, folds: int = 5, rows: int | None = 2000, seed: int = 0) -> Estimate:
    """How well lines tell classes apart: cross-validated accuracy of multinomial logistic regression on the vectors as given.

    Range: chance (the largest class's share) to 1.
    Source: the linear probe of Alain & Bengio 2017, arXiv:1610.01644.
    Cost: ``rows`` vectors (default 2000) are drawn; ``error`` is the binomial standard error.
    Shapes: x (N, d), labels (N,) int64. Needs scikit-learn.
    Errors: DataError, also for a single class.
    """
    x = matrix("separability", x)
    of = classes("separability", labels, len(x), 2)
    chosen = drawn("separability", len(x), rows, seed)
    if chosen is not None:
        x, of = x[chosen.to(x.device)], of[chosen.to(of.device)]
    return _cross_validated("separability", x, of, torch.arange(len(x)), folds, seed)


def _cross_validated(name: str, x: torch.Tensor, of: torch.Tensor, group: torch.Tensor, folds: int, seed: int) -> Estimate:
    """Held-out accuracy over folds of whole groups."""
    groups = int(group.max()) + 1
    if not (isinstance(folds, int) and folds >= 2):
        raise ParameterError(name, "folds", "a whole number of at least 2", folds)
    if groups < folds:
        raise DataError(f"{name}: needs at least as many pairs or vectors as folds", value=f"{groups} for {folds} folds")
    order = torch.randperm(groups, generator=torch.Generator().manual_seed(seed))
    fold = (order.argsort() % folds)[group].numpy()
    vectors, target = x.cpu().double().numpy(), of.cpu().numpy()
    right = 0
    for held in range(folds):
        seen, unseen = fold != held, fold == held
        right += int((probe(vectors[seen], target[seen]).predict(vectors[unseen]) == target[unseen]).sum())
    share = right / len(target)
    return Estimate(share, math.sqrt(share * (1 - share) / len(target)), len(target))


def probe(vectors: Any, target: Any) -> Any:
    """A logistic regression with an L2 penalty of strength 1 on standardised vectors, fitted."""
    linear = need("sklearn.linear_model", "diagnostics", "linear probes")
    pipeline = need("sklearn.pipeline", "diagnostics", "linear probes")
    scaling = need("sklearn.preprocessing", "diagnostics", "linear probes")
    return pipeline.make_pipeline(scaling.StandardScaler(), linear.LogisticRegression(max_iter=1000)).fit(vectors, target)
