"""Centroids: online k-means over the queries; the second nearest centroid of each row is a hard negative of every row.

    once the batch has spread, mean_ij cos(q_i, k_j) <= spread:   c_1 a query by chance, c_{n+1} the query whose key is least like c_n
    later, before use:   c_k <- (1 - rate) c_k + rate mean of the queries nearest to c_k           clusters without any stay
    column j = unit(second nearest centroid of q_j)                                            N columns, constants

Rows and keys of the batch get the metadata ``cluster``, their own nearest centroid, -1 before the start and for other columns: who shares
it is a suspected false negative. Shapes: ``clusters`` centroids of d dimensions, nearest by cosine. Source: ClusterNS, arXiv:2305.09892,
section 3 (its code blends the sum of a cluster's members in, the paper their mean, as here). Relation: ``rate`` 1 is a step of k-means
a batch. Errors: DataError for fewer rows than clusters at the start, for token vectors and for another dimension than before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from dipole.core.errors import DataError
from dipole.core.pairs import Pairs
from dipole.core.part import at_least, between, part, real
from dipole.core.vectors import Vectors
from dipole.negatives.clock import Clock
from dipole.negatives.memory import fits, side_of, widen
from dipole.pairwise import topk_search
from dipole.pairwise.scores.cosine import Cosine

__all__ = ["Centroids"]


@part
class Centroids(nn.Module):
    """Buffers: ``centroids`` (clusters, d), (clusters, 0) before the start."""

    clusters: int = at_least(2, 128, "K")
    rate: float = between(0.0, 1.0, 1e-3, "how far a centroid moves to its members each step")
    spread: float = real(0.4, "clusters begin once the mean cosine of queries and keys is at most this")
    seed: int = at_least(0, 0, "decides the first centroid")

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.register_buffer("centroids", torch.zeros(self.clusters, 0))

    def extend(self, pairs: Pairs, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor]) -> Pairs:
        """The pairs with one centroid a row as further columns, and everybody's cluster."""
        queries = side_of("centroids", "queries", sides)
        now = self._moved(sides)
        nobody = torch.full((pairs.shape[1],), -1, device=pairs.device)
        if now is None:
            return replace(pairs, rows={**pairs.rows, "cluster": nobody[: len(queries)]}, cols={**pairs.cols, "cluster": nobody})
        nearest = topk_search(queries, now, 2, Cosine()).ids
        nobody[: len(queries)] = nearest[:, 0]
        known = replace(pairs, rows={**pairs.rows, "cluster": nearest[:, 0]}, cols={**pairs.cols, "cluster": nobody})
        return known.with_negatives(nn.functional.normalize(now[nearest[:, 1]], dim=1))

    def update(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor]) -> None:
        """Keep the centroids the step used."""
        now = self._moved(sides)
        if now is not None:
            self.centroids = now
        self.clock.tick()

    @torch.no_grad()
    def _moved(self, sides: Mapping[str, Vectors]) -> torch.Tensor | None:
        """The centroids for this batch; None before the start."""
        queries = side_of("centroids", "queries", sides)
        held = self.get_buffer("centroids")
        if held.shape[1] == 0:
            keys = side_of("centroids", "keys" if "keys" in sides else "queries", sides)
            unit, others = (nn.functional.normalize(x, dim=1) for x in (queries, keys))
            if float(unit.mean(0) @ others.mean(0)) > self.spread:
                return None
            first = int(torch.randint(len(queries), (), generator=self.clock.dice(self.seed, "centroids")))
            return queries[spread_out(unit, others, self.clusters, first)]
        fits("centroids", held, queries)
        held = held.to(queries.dtype)
        nearest = topk_search(queries, held, 1, Cosine()).ids[:, 0]
        count = torch.bincount(nearest, minlength=self.clusters)[:, None]
        mean = torch.zeros_like(held).index_add_(0, nearest, queries) / count.clamp(min=1)
        return torch.where(count > 0, torch.lerp(held, mean, self.rate), held)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        widen(self, "centroids", state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *rest)


def spread_out(queries: torch.Tensor, keys: torch.Tensor, count: int, first: int) -> torch.Tensor:
    """(count,) int64: ``first``, then always the row not yet chosen whose key is least like the last one chosen.

    ``queries``, ``keys`` (N, d) of length one. Raises DataError for fewer rows than ``count``.
    """
    if len(queries) < count:
        remedy = "lower clusters, or raise step.batch_size"
        raise DataError(f"centroids: {count} clusters begin with as many rows, the batch holds fewer", value=len(queries), remedy=remedy)
    chosen = [first]
    free = torch.ones(len(queries), dtype=torch.bool, device=queries.device)
    for _ in range(count - 1):
        free[chosen[-1]] = False
        chosen.append(int((keys @ queries[chosen[-1]]).masked_fill(~free, torch.inf).argmin()))
    return torch.tensor(chosen, device=queries.device)
