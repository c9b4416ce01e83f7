"""CWCL: every candidate is a positive, as far as it resembles the row's own in the frozen key space.

    l_i = -sum_j w_ij log softmax_j(s_ij / t)_j / sum_j w_ij,   w_ij = ((1 + cos(k_i, k_j)) / 2)^p      one value per query, nats

Shapes: N queries, M >= N keys, aligned; the keys come from the encoder that is trusted, and get their gradient from s only. Source:
arXiv:2309.14580, with p = 1; the paper adds the plain InfoNCE of the other direction (``keys_ask`` around ``infonce``).
Relation: cross-entropy to the soft target w_ij / sum_j w_ij; as p grows, InfoNCE. At p = 1 unrelated keys are half positive, which
flattens the target when most keys are unrelated.
Errors: DegenerateBatchError on a single key.

>>> import torch
>>> from dipole import Pairs
>>> CWCL(temperature=1.0)(Pairs.aligned(torch.eye(2), torch.eye(2)))
tensor([0.6466, 0.6466])
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn.functional import normalize

from dipole.core.pairs import Pairs
from dipole.core.part import part, positive
from dipole.core.scores import Channel, Dot
from dipole.core.vectors import leading, wide
from dipole.pairwise import LogSumExp, Sum, Tile, reduce

__all__ = ["CWCL"]


@part
class CWCL:
    """Softmax to targets weighted by similarity among the keys, in nats per query."""

    temperature: float = positive(0.1, "scores are divided by it")
    power: float = positive(1.0, "p, to which the weights are raised; 1 in the paper, larger is nearer to InfoNCE")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        pairs.require_negatives("CWCL")
        own, keys = (normalize(wide(leading(side).detach()), dim=-1) for side in (pairs.answers().queries, pairs.keys))

        def terms(tile: Tile) -> Mapping[str, torch.Tensor]:
            logits = tile.logits(self.temperature)
            weight = ((1 + tile.channels["alike"]) / 2).clamp(min=0).pow(self.power)
            return {"logits": logits, "attracted": weight * tile.scores / self.temperature, "weight": weight}

        stats = reduce(
            terms,
            pairs,
            channels={"alike": Channel(own, keys, Dot())},
            every=LogSumExp("rows", of="logits"),
            attracted=Sum("rows", of="attracted"),
            weight=Sum("rows", of="weight"),
        )
        values: torch.Tensor = stats.every - stats.attracted / stats.weight
        return values
