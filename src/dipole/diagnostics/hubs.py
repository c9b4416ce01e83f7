"""Hubness: items that are near neighbours of very many others, and items that are nobody's."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dipole.core.errors import ParameterError
from dipole.diagnostics.estimate import drawn
from dipole.diagnostics.geometry import against_others
from dipole.diagnostics.vectors import same_dimension, unit
from dipole.pairwise import scores_as_they_are, topk_rows, topk_search


@dataclass(frozen=True)
class Hubness:
    """``skewness`` of the k-occurrences; ``robin_hood`` the share of neighbour places one would have to move to make all equal;
    ``antihubs`` the share of items that are nobody's neighbour; ``hubs`` the share that occur at least 2k times; ``largest`` the most
    occurrences and ``item`` whose they are; ``places`` neighbour places handed out, divided by items (k, unless queries were given)."""

    skewness: float
    robin_hood: float
    antihubs: float
    hubs: float
    largest: int
    item: int
    places: float


@torch.no_grad()
def occurrences(x: torch.Tensor, queries: torch.Tensor | None = None, k: int = 10) -> torch.Tensor:
    """How often each of x is among the k nearest (cosine) of the others, or of the queries.

        N_k(j) = how many i have j among their k nearest

    Range: 0 to N - 1, k on average where the items ask themselves.
    Source: Radovanovic et al. 2010 (JMLR 11), section 2.
    Cost: O(N^2 d), memory O(N k).
    Shapes: (N,) int64 of x (N, d) and queries (M, d); N above k. Equal cosines: the lower row wins, so copies make hubs.
    Errors: DataError, ParameterError for k.

    >>> occurrences(torch.tensor([[1.0, 0.1], [1.0, 0.0], [1.0, -0.2]]), k=1).tolist()
    [1, 2, 0]
    """
    x = unit("occurrences", x)
    most = len(x) - (queries is None)
    if not (isinstance(k, int) and 1 <= k <= most):
        raise ParameterError("occurrences", "k", f"a whole number from 1 to {most}", k)
    if queries is None:
        found = topk_rows(scores_as_they_are, against_others(x), k).ids
    else:
        queries = unit("occurrences", queries, 1)
        same_dimension("occurrences", x, queries)
        found = topk_search(queries, x, k).ids
    return torch.bincount(found.flatten(), minlength=len(x))


@torch.no_grad()
def hubness(x: torch.Tensor, queries: torch.Tensor | None = None, k: int = 10, rows: int | None = None, seed: int = 0) -> Hubness:
    """How unequally items share the places among others' k nearest neighbours (cosine).

        N_k(j) = how many of the others have j among their k nearest
        skewness = E[(N_k - mean)^3] / std^3,   robin_hood = sum_j |N_k(j) - mean| / (2 sum_j N_k(j))

    Range: skewness is about 1 / sqrt(k) where neighbours are drawn at random, above 1.4 counts as high; Robin Hood is 0 (all equal)
      to 1, by chance about 1 / sqrt(2 pi k).
    Healthy: near chance. In retrieval a hub is a document returned for everything, an anti-hub one that is never found.
    Source: Radovanovic et al. 2010 (JMLR 11), section 2; Robin Hood index and the threshold: Feldbauer & Flexer 2019,
      doi:10.1007/s10115-018-1205-y. ``queries`` (M, d): how often each of x is found by these instead.
    Cost: O(N^2 d), memory O(N k); ``rows=n`` keeps n of the vectors, where neighbourhoods are sparser: compare at equal n. Equal
      cosines: the lower row wins, so copies make hubs.
    Shapes: x (N, d), N above k.
    Errors: DataError, ParameterError for k.
    """
    chosen = drawn("hubness", len(x), rows, seed)
    counts = occurrences(x if chosen is None else x[chosen.to(x.device)], queries, k).double()
    mean = counts.mean()
    apart = counts - mean
    spread = apart.square().mean().sqrt()
    skewness = float(apart.pow(3).mean() / spread**3) if spread > 0 else 0.0  # all equal: no skew
    item = int(counts.argmax())
    return Hubness(
        skewness=skewness,
        robin_hood=float(apart.abs().sum() / (2 * counts.sum())),
        antihubs=float((counts == 0).double().mean()),
        hubs=float((counts >= 2 * mean).double().mean()),
        largest=int(counts[item]),
        item=item if chosen is None else int(chosen[item]),
        places=float(mean),
    )
