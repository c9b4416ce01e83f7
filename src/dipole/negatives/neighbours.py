"""Neighbours: what a clustered memory holds near the twin's vector of an item serves as further targets of that item.

    channels twin_1 .. twin_k beside twin: the k nearest of the twin's vector by cosine, among the members of its nearest prototype
    once the memory is full: K prototypes by spherical k-means.   Each step: the batch is given to prototypes so that all get the same
    mass (``equipartition`` of cosines), enters over the oldest, and a prototype becomes the mean of its members, or stays

Shapes: ``size`` vectors of d dimensions, constants; both sides of the twin are kept, both look. Goes after ``twin_views``. Source: BECLR,
arXiv:2402.02444, section 4.2 (DyCE): there 200 prototypes, size 40 times that, 5 neighbours, from epoch 60 on. Its code appends neighbours
to the batch as pairs of two constants, which have no gradient; here they are targets of the item that found them.
Relation: ``queue`` makes memory negative; ``predicted_twin`` reads the targets. Until the memory is full, and before ``start``, nothing
is added. Where a cluster has fewer than k members the whole memory is searched. Errors: UsageError without the channel ``twin``;
DataError for another dimension than before; ParameterError for a memory smaller than its clusters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.functional import normalize

from dipole.core.errors import ParameterError, UsageError
from dipole.core.pairs import Pairs
from dipole.core.part import at_least, part, positive
from dipole.core.relations import AllBut, Match
from dipole.core.scores import Channel
from dipole.core.vectors import Vectors, one_tensor
from dipole.negatives.clock import Clock
from dipole.negatives.memory import Memory, fits, side_of, widen
from dipole.negatives.search import negatives_by_score
from dipole.pairwise.transport import equipartition

__all__ = ["Neighbours"]
_TURNS = 10


@part
class Neighbours(nn.Module):
    """Buffers: the memory, each entry's cluster as its label, and ``prototypes`` (clusters, d), (clusters, 0) before it is full."""

    clusters: int = at_least(1, 200, "K: prototypes")
    size: int = at_least(1, 8000, "vectors kept")
    count: int = at_least(0, 5, "k: neighbours of an item; 0: none")
    start: int = at_least(0, 0, "steps before they serve; they are collected from the first")
    epsilon: float = positive(0.05, "weight of the assignment's entropy")
    seed: int = at_least(0, 0, "decides the first prototypes")

    asks = {"queries_twin": "queries", "keys_twin": "keys"}  # noqa: RUF012

    def __post_init__(self) -> None:
        if self.size < max(self.clusters, self.count):
            raise ParameterError("neighbours", "size", "at least clusters and count", self.size)
        self.memory, self.clock = Memory(self.size, "neighbours"), Clock()
        self.register_buffer("prototypes", torch.zeros(self.clusters, 0))

    @property
    def full(self) -> bool:
        """Whether there are prototypes."""
        return self.get_buffer("prototypes").shape[1] > 0

    def extend(self, pairs: Pairs, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor]) -> Pairs:
        """The pairs with ``count`` further channels."""
        if "twin" not in pairs.channels:
            raise UsageError('neighbours: there is no channel twin; list { use = "twin_views" } before it')
        if not self.count or not self.full or int(self.clock.now) < self.start:
            return pairs
        twin = pairs.channels["twin"]
        slow = [one_tensor(side, "neighbours") for side in (twin.queries, twin.keys)]
        for vectors in slow:
            fits("neighbours", self.memory.vectors, vectors)
        found = [self._nearest(vectors) for vectors in slow]
        more = {f"twin_{k + 1}": Channel(found[0][:, k], found[1][:, k], twin.score) for k in range(self.count)}
        return replace(pairs, channels={**pairs.channels, **more})

    @torch.no_grad()
    def _nearest(self, vectors: torch.Tensor) -> torch.Tensor:
        """(N, count, d) the nearest of each row's cluster, of all where the cluster is small."""
        held, unit = self.memory.vectors.to(vectors.dtype), normalize(vectors, dim=1)
        own = (unit @ normalize(self.get_buffer("prototypes").to(unit), dim=1).T).argmax(1)
        small = torch.bincount(self.memory.label, minlength=self.clusters)[own] < self.count
        nobody, place = torch.full_like(own, -1), self.memory.label
        within = Match(torch.where(small, nobody, own), place)
        everyone = Pairs.labelled(unit, nobody, held, torch.full_like(place, -1))
        inside = negatives_by_score(replace(everyone, excluded=(AllBut(within, slice(0, self.size), vectors.device),)), self.count).ids
        ids = torch.where(small[:, None], negatives_by_score(everyone, self.count).ids, inside)
        return held[ids]

    @torch.no_grad()
    def update(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor]) -> None:
        """Put the step's vectors in."""
        before = self.get_buffer("prototypes")
        vectors = normalize(torch.cat([side_of("neighbours", side, sides) for side in self.asks]), dim=1)
        if self.full:
            fits("neighbours", before, vectors)
        labels = equipartition(vectors @ normalize(before.to(vectors), dim=1).T, self.epsilon, 10).argmax(1) if self.full else None
        self.memory.push(vectors, labels=labels)
        if self.full:
            self.prototypes = self._means(before)
        elif len(self.memory) == self.size:
            chosen = torch.randperm(self.size, generator=self.clock.dice(self.seed, "neighbours"))[: self.clusters]
            prototypes = self.memory.vectors[chosen]
            for _ in range(_TURNS):
                self.memory.label = (self.memory.vectors @ normalize(prototypes, dim=1).T).argmax(1)
                prototypes = self._means(prototypes)
            self.prototypes = prototypes
        self.clock.tick()

    def _means(self, before: torch.Tensor) -> torch.Tensor:
        label = self.memory.label
        count = torch.bincount(label, minlength=self.clusters)[:, None]
        sums = torch.zeros_like(before).index_add_(0, label, self.memory.vectors)
        return torch.where(count > 0, sums / count.clamp(min=1), before)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        widen(self, "prototypes", state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *rest)
