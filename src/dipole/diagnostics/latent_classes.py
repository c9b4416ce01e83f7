"""What the latent-class theory of contrastive learning looks at: class means as a classifier, collisions, spread within classes."""

from __future__ import annotations

import torch

from dipole.core.errors import DataError, ParameterError
from dipole.diagnostics.estimate import Estimate
from dipole.diagnostics.vectors import classes, matrix, same_dimension


@torch.no_grad()
def mean_classifier(
    train: torch.Tensor,
    labels: torch.Tensor,
    test: torch.Tensor,
    test_labels: torch.Tensor,
    ways: int | None = None,
    tasks: int = 100,
    seed: int = 0,
) -> Estimate:
    """How often the class whose mean has the largest inner product is the right one.

        accuracy = P[ argmax_c f(x) . mu_c = c(x) ],   mu_c = mean of f over the training items of class c

    ``ways``: the mean over ``tasks`` draws of that many classes, as in the theory's tasks of k + 1 classes; None: all classes at once.
    Range: 0 to 1; chance is 1 over the number of classes.
    Healthy: near what a trained linear probe reaches: then the contrastive loss controls the downstream one.
    Source: Arora et al. 2019, arXiv:1902.09229, definition 2.1 (the mean classifier W^mu).
    Cost: O(N d + n C d).
    Shapes: train (N, d), labels (N,), test (n, d), test_labels (n,) int64; every test class must occur in training.
    Errors: DataError, ParameterError.

    >>> eye = torch.eye(3)
    >>> mean_classifier(eye, torch.arange(3), eye[[0, 1, 2, 2]], torch.tensor([0, 1, 2, 0]))
    0.75
    """
    name = "mean_classifier"
    train, test = matrix(name, train), matrix(name, test, 1)
    same_dimension(name, train, test)
    of = classes(name, labels, len(train), 2)
    known = labels.unique()
    classes(name, test_labels, len(test))
    if not bool(torch.isin(test_labels, known).all()):
        strange = test_labels[~torch.isin(test_labels, known)]
        raise DataError(f"{name}: every test class must occur in training", value=int(strange[0]))
    if ways is not None and not (isinstance(ways, int) and 2 <= ways <= len(known)):
        raise ParameterError(name, "ways", f"a whole number from 2 to the {len(known)} classes there are, or None", ways)
    sums = torch.zeros(len(known), train.shape[1], dtype=torch.float64, device=train.device).index_add_(0, of, train.double())
    scores, true = test.double() @ (sums / torch.bincount(of).double()[:, None]).T, torch.searchsorted(known, test_labels)
    if ways is None:
        return Estimate(float((scores.argmax(1) == true).double().mean()), rows=len(test))
    chance = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(tasks):
        chosen = torch.randperm(len(known), generator=chance)[:ways].sort().values.to(scores.device)
        asked = torch.isin(true, chosen)
        if bool(asked.any()):
            found.append((chosen[scores[asked][:, chosen].argmax(1)] == true[asked]).double().mean())
    values = torch.stack(found)
    return Estimate(float(values.mean()), float(values.std()) / len(values) ** 0.5 if len(values) > 1 else 0.0, len(values))


def collision_probability(labels: torch.Tensor, negatives: int = 1) -> float:
    """How likely an item drawn at random meets its own class among its negatives.

        tau_k = sum_c p_c (1 - (1 - p_c)^k),   p_c the share of class c,   k negatives drawn independently

    Range: 0 to 1; 1 - (1 - 1/C)^k for C classes of one size.
    Healthy: small; where k is large and classes few, most batches push an item's own class away.
    Source: Arora et al. 2019, arXiv:1902.09229, section 4 (tau for k = 1).
    Cost: O(N log N).
    Shapes: labels (N,) int64.
    Errors: DataError, ParameterError.

    >>> collision_probability(torch.tensor([0, 0, 1, 1]))
    0.5
    """
    of = classes("collision_probability", labels, len(labels))
    if not (isinstance(negatives, int) and negatives >= 1):
        raise ParameterError("collision_probability", "negatives", "a whole number of at least 1", negatives)
    shares = torch.bincount(of).double() / len(of)
    return float((shares * (1 - (1 - shares) ** negatives)).sum())


@torch.no_grad()
def class_deviation(x: torch.Tensor, labels: torch.Tensor) -> float:
    """How far items of a class stray from each other in the direction in which they stray most.

        s(f) = 4 sum_c p_c sqrt(|Cov_c|_2) mean_{x in c} |f(x)|,   |.|_2 the largest eigenvalue

    Range: at least 0, squared units of the vectors; 0 where each class lies in one point.
    Healthy: small beside the squared length of the vectors: collisions then cost little, since what they push apart is close.
    Source: Arora et al. 2019, arXiv:1902.09229, section 4.1 (s(f)); the factor 4 is stated from memory and does not matter to comparisons.
    Cost: O(N d^2 + C d^3).
    Shapes: x (N, d), labels (N,) int64.
    Errors: DataError.

    >>> x = torch.tensor([[1.0, 0], [3, 0], [0, 5], [0, 5]])  # deviation 1 around 2, and none
    >>> class_deviation(x, torch.tensor([0, 0, 1, 1]))
    4.0
    """
    x = matrix("class_deviation", x).double()
    of = classes("class_deviation", labels, len(x))
    total = 0.0
    for label in range(int(of.max()) + 1):
        mine = x[of == label]
        apart = mine - mine.mean(0)
        total += 4 * len(mine) / len(x) * float(torch.linalg.matrix_norm(apart, 2)) / len(mine) ** 0.5 * float(mine.norm(dim=1).mean())
    return total
