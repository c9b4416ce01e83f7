"""Is anything lost that the other view could have told? Information bounds, and what a map of one view throws away."""

from __future__ import annotations

import math

import torch

from dipole.core.errors import DataError, ParameterError
from dipole.core.pairs import Pairs
from dipole.diagnostics.estimate import Estimate
from dipole.diagnostics.vectors import matrix, same_dimension, same_number
from dipole.pairwise import Tile, logsumexp_rows


@torch.no_grad()
def information_bound(
    queries: torch.Tensor, keys: torch.Tensor, temperature: float = 1.0, candidates: int | None = None, seed: int = 0
) -> Estimate:
    """How much the two sides of held-out pairs tell about each other, at least.

        I >= log K - L,   L = mean_i -log softmax_j(q_i . k_j / t)_i  over K candidates

    ``candidates``: K, with the pairs cut at random into groups of that many; None: all pairs at once. At growing K the bound rises
    towards the information, but never above log K: a bound near log K says that K is too small.
    Range: at most log K nats; about 0 or below for sides that have nothing to do with each other.
    Healthy: still rising where K ends means that more candidates would show more.
    Source: van den Oord et al. 2018, arXiv:1807.03748, appendix A.1; Le-Khac et al. 2020, arXiv:2010.05113, use it as a diagnostic.
    Cost: O(N K d), memory O(N d).
    Shapes: queries (N, d), keys (N, d), pair i in row i; what is left of the last group is not used.
    Errors: DataError, ParameterError.

    >>> eye = torch.eye(8)
    >>> round(information_bound(eye, eye, temperature=0.01), 4), round(math.log(8), 4)
    (2.0794, 2.0794)
    """
    values, k = _surprises("information_bound", queries, keys, temperature, candidates, seed)
    return Estimate(math.log(k) - float(values.mean()), float(values.std()) / math.sqrt(len(values)), len(values))


@torch.no_grad()
def sufficiency_gap(
    queries: torch.Tensor,
    keys: torch.Tensor,
    mapped_queries: torch.Tensor,
    mapped_keys: torch.Tensor,
    temperature: float = 1.0,
    candidates: int | None = None,
    seed: int = 0,
) -> Estimate:
    """What a map f of one view loses about the other, as two scores show on the same held-out pairs: one of x itself, one of f(x).

        Suff(f) = inf_S R(S o f) - inf_S R(S);   estimated as the difference of the two scores' losses on the same candidates

    Range: any; 0 in expectation where f loses nothing, at most the information between the views.
    Healthy: near 0. The estimate is as good as the scores: an untrained score of f(x) looks like a loss of information.
    Source: Lin and Mei 2025, arXiv:2503.17538, the variational form of approximate sufficiency.
    Cost: O(N K (d + d')).
    Shapes: scores of x: queries (N, d), keys (N, d); scores of f(x): (N, d'), (N, d'); pair i in row i of all four.
    Errors: DataError, ParameterError.

    >>> eye = torch.eye(4)
    >>> sufficiency_gap(eye, eye, eye, eye)
    0.0
    """
    whole, _ = _surprises("sufficiency_gap", queries, keys, temperature, candidates, seed)
    part, _ = _surprises("sufficiency_gap", mapped_queries, mapped_keys, temperature, candidates, seed)
    same_number("sufficiency_gap", whole, part)
    apart = part - whole
    return Estimate(float(apart.mean()), float(apart.std()) / math.sqrt(len(apart)), len(apart))


def _surprises(
    name: str, queries: torch.Tensor, keys: torch.Tensor, temperature: float, candidates: int | None, seed: int
) -> tuple[torch.Tensor, int]:
    """(n,) InfoNCE of each pair that is in a whole group of K, and K."""
    q, k = matrix(name, queries).double(), matrix(name, keys).double()
    same_number(name, q, k)
    same_dimension(name, q, k)
    size = len(q) if candidates is None else candidates
    if not (isinstance(size, int) and 2 <= size <= len(q)):
        raise ParameterError(name, "candidates", f"a whole number from 2 to the {len(q)} pairs there are, or None", candidates)
    if not 0 < temperature < math.inf:
        raise ParameterError(name, "temperature", "a number above 0", temperature)

    def logits(tile: Tile) -> torch.Tensor:
        return tile.scores / temperature

    order = torch.randperm(len(q), generator=torch.Generator().manual_seed(seed)).to(q.device)
    found = []
    for group in order[: len(q) // size * size].split(size):
        pairs = Pairs.aligned(q[group], k[group])
        found.append(logsumexp_rows(logits, pairs) - pairs.positive_scores() / temperature)
    return torch.cat(found), size


def information(joint: torch.Tensor, divergence: str = "kl") -> float:
    """How much two discrete variables tell about each other, from the table of their joint probabilities.

        kl: I = sum p log(p / p_x p_z), nats;    chi2: sum (p - p_x p_z)^2 / p_x p_z

    Range: at least 0; 0 for independent variables.
    Source: the two members of the family of arXiv:2503.17538 that the library has losses for: -I is the least InfoNCE less log K as K grows
      (``infonce``), -(1 + chi2) the least value of ``spectral``.
    Shapes: joint (X, Z), at least 0, adding up to 1.
    Errors: DataError, ParameterError.

    >>> round(information(torch.tensor([[0.5, 0.0], [0.0, 0.5]])), 6), information(torch.full((2, 2), 0.25), "chi2")
    (0.693147, 0.0)
    """
    p = _table("information", joint)
    product = p.sum(1, keepdim=True) * p.sum(0, keepdim=True)
    if divergence == "kl":
        return float(torch.where(p > 0, p * (p / product.clamp(min=torch.finfo(p.dtype).tiny)).log(), 0.0).sum())
    if divergence == "chi2":
        return float(torch.where(product > 0, (p - product).square() / product, 0.0).sum())
    raise ParameterError("information", "divergence", "kl or chi2", divergence)


def information_lost(joint: torch.Tensor, of: torch.Tensor) -> float:
    """What a map f of the first variable loses about the second, exactly, from the table of joint probabilities.

        Suff(f) = I(X; Z) - I(f(X); Z) = E KL( p(z | x) || p(z | f(x)) )

    Range: 0 (f is sufficient) to I(X; Z) (f is constant), nats.
    Source: Lin and Mei 2025, arXiv:2503.17538, the information-loss form; equal to the variational and the conditional one.
    Shapes: joint (X, Z), at least 0, adding up to 1; ``of`` (X,) int64, the value f(x) of each x.
    Errors: DataError.

    >>> joint = torch.tensor([[0.25, 0.0], [0.25, 0.0], [0.0, 0.5]])
    >>> round(information_lost(joint, torch.tensor([0, 0, 1])), 6), round(information_lost(joint, torch.tensor([0, 0, 0])), 6)
    (0.0, 0.693147)
    """
    p = _table("information_lost", joint)
    if of.shape != (len(p),) or of.is_floating_point():
        raise DataError("information_lost: of must be one whole number a row of the table", value=tuple(of.shape))
    _, merged = of.unique(return_inverse=True)
    coarse = p.new_zeros(int(merged.max()) + 1, p.shape[1]).index_add_(0, merged, p)
    return information(p) - information(coarse)


def _table(name: str, joint: torch.Tensor) -> torch.Tensor:
    if joint.dim() != 2 or not joint.is_floating_point():
        raise DataError(f"{name}: joint must be a table of probabilities", value=tuple(joint.shape))
    p = joint.detach().double()
    if not bool((p >= 0).all()) or abs(float(p.sum()) - 1) > 1e-5:
        raise DataError(f"{name}: joint must hold numbers of at least 0 that add up to 1", value=float(p.sum()))
    return p / p.sum()
