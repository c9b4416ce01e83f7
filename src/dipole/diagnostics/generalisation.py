"""What bounds on contrastive generalisation look at: the gap to held-out data at equal k, and whether a loss stays tame when k grows."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from dipole.core.errors import DataError, ParameterError
from dipole.diagnostics.estimate import Estimate
from dipole.diagnostics.vectors import matrix, same_dimension, same_number


@torch.no_grad()
def generalisation_gap(
    queries: torch.Tensor,
    keys: torch.Tensor,
    held_queries: torch.Tensor,
    held_keys: torch.Tensor,
    negatives: int,
    temperature: float = 1.0,
    seed: int = 0,
) -> Estimate:
    """By how much the contrastive loss is larger on held-out pairs than on training pairs, with as many negatives a query.

        gap = L_k(held out) - L_k(training),   L_k = mean_i log(1 + sum_{j in k drawn others} e^{(q_i . k_j - q_i . k_i) / t})

    The number of negatives is the same on both sides, since the loss grows with it: a gap between batches of different sizes says nothing.
    Range: any; 0 in expectation where the encoder has seen neither set.
    Healthy: near 0; by the theory it falls like 1 / sqrt(n) with the training pairs and hardly grows with k.
    Source: Lei et al. 2023, arXiv:2302.12383, theorem 4.3 and its logarithm of k; the loss is that of arXiv:1902.09229.
    Cost: O((N + n) k d).
    Shapes: training pairs (N, d), held-out pairs (n, d); k from 1 to what either set has beside a query.
    Errors: DataError, ParameterError.

    >>> eye = torch.eye(4)
    >>> generalisation_gap(eye, eye, eye, eye.roll(1, 0), negatives=3) > 0  # held-out pairs that do not match
    True
    """
    name = "generalisation_gap"
    sets = [tuple(matrix(name, x) for x in pair) for pair in ((queries, keys), (held_queries, held_keys))]
    for q, k in sets:
        same_number(name, q, k)
        same_dimension(name, q, sets[0][0])
        same_dimension(name, q, k)
    least = min(len(q) for q, _ in sets) - 1
    if not (isinstance(negatives, int) and 1 <= negatives <= least):
        raise ParameterError(name, "negatives", f"a whole number from 1 to {least}, the others of the smaller set", negatives)
    if not 0 < temperature < math.inf:
        raise ParameterError(name, "temperature", "a number above 0", temperature)
    chance = torch.Generator().manual_seed(seed)
    values = [_losses(q.double(), k.double(), negatives, temperature, chance) for q, k in sets]
    error = math.sqrt(sum(float(v.var()) / len(v) for v in values))
    return Estimate(float(values[1].mean() - values[0].mean()), error, len(values[1]))


def _losses(q: torch.Tensor, k: torch.Tensor, negatives: int, temperature: float, chance: torch.Generator) -> torch.Tensor:
    """(N,) the logistic loss of each query against its own draw of other keys."""
    n = len(q)
    out = []
    for rows in torch.arange(n).split(max(1, 2**22 // n)):
        drawn = torch.rand(len(rows), n, generator=chance).scatter_(1, rows[:, None], -1.0).topk(negatives, dim=1).indices.to(q.device)
        apart = torch.einsum("nd,nkd->nk", q[rows], k[drawn]) - (q[rows] * k[rows]).sum(1, keepdim=True)
        out.append(torch.nn.functional.pad(apart / temperature, (1, 0)).logsumexp(1))
    return torch.cat(out)


def sup_norm_slope(
    loss: Callable[[torch.Tensor], torch.Tensor], negatives: int, trials: int = 200, reach: float = 20.0, seed: int = 0
) -> float:
    """How much a loss of score differences can change when every difference changes by at most 1: a lower bound by trial.

        G = max over v of |grad l(v)|_1,   v = ( q . k+ - q . k_1, ..., q . k+ - q . k_k )

    Range: at least 0; 1 for the logistic loss log(1 + sum e^{-v}) and for the hinge max(0, 1 + max(-v)), whatever k.
    Healthy: not growing with k: then many negatives cost a factor of log k in the bound, and not k.
    Source: Lei et al. 2023, arXiv:2302.12383, assumption 3.1 and lemma 4.1 (sup-norm Lipschitz losses).
    Cost: O(trials k).
    Shapes: ``loss`` maps (n, k) differences to (n,) values and is differentiable; points are drawn at sizes from 0.01 to ``reach``, with
      all entries shifted alike, also far to the violated side where such losses are steepest.
    Errors: DataError, ParameterError.

    >>> logistic = lambda v: torch.nn.functional.pad(-v, (1, 0)).logsumexp(1)
    >>> round(sup_norm_slope(logistic, negatives=100), 4)
    1.0
    """
    if not (isinstance(negatives, int) and negatives >= 1):
        raise ParameterError("sup_norm_slope", "negatives", "a whole number of at least 1", negatives)
    chance = torch.Generator().manual_seed(seed)
    sizes = torch.logspace(-2, math.log10(reach), trials, dtype=torch.float64)[:, None]
    points = sizes * torch.randn(trials, negatives, generator=chance, dtype=torch.float64)
    points = points - reach * torch.rand(trials, 1, generator=chance, dtype=torch.float64)
    points.requires_grad_()
    values = loss(points)
    if values.shape != (trials,) or not values.requires_grad:
        raise DataError(
            "sup_norm_slope: the loss must map (n, k) differences to (n,) values it is differentiable in", value=tuple(values.shape)
        )
    slopes = torch.autograd.grad(values.sum(), points)[0]
    return float(slopes.abs().sum(1).max())
