"""InfoNCE: pick the positive out of all candidates by softmax.

    l_i = -s_ii / t + log sum_j exp(s_ij / t)                                             one value per query, nats
    smoothed: l_i = -(1 - e) s_ii / t - e mean_j s_ij / t + log sum_j exp(s_ij / t)

Two-sided: the mean of l_i and of the same with keys asking for queries, from one pass over the scores.

Shapes: N queries, M >= N keys, aligned. Source: arXiv:1807.03748, eq. 4 (there f = exp(s / t)); two-sided arXiv:2103.00020, fig. 3;
smoothing e arXiv:2102.05918, section 4.2: a share e of the target is spread evenly over the candidates.
Relation: SupCon with one positive a row; DCL leaves the positive out of the sum. Equal scores give log M. Smoothed, the least
value is the entropy of the smoothed target, not 0.
Errors: DegenerateBatchError on a single key; DataError unless each row has one aligned positive (then use SupCon).

>>> import torch
>>> from dipole import Pairs
>>> InfoNCE(temperature=1.0)(Pairs.aligned(torch.eye(2), torch.eye(2)))
tensor([0.3133, 0.3133])
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from dipole.core.pairs import Pairs
from dipole.core.part import between, part, positive, switch
from dipole.pairwise import LogSumExp, Mean, Tile, reduce

__all__ = ["InfoNCE"]


@part
class InfoNCE:
    """Softmax over all candidates, in nats per query."""

    temperature: float = positive(0.05, "scores are divided by it; smaller looks harder at the nearest negatives")
    two_sided: bool = switch(False, "average with the same loss in which keys ask for queries")
    label_smoothing: float = between(0.0, 1.0, 0.0, "e, the share of the target spread evenly over all candidates")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        pairs.require_negatives("InfoNCE")

        def terms(tile: Tile) -> Mapping[str, torch.Tensor]:
            logits = {"logits": tile.logits(self.temperature)}
            return logits | {"scores": tile.scores / self.temperature} if self.label_smoothing else logits

        axes = ("rows", "cols") if self.two_sided else ("rows",)
        wanted: dict[str, Any] = {axis: LogSumExp(axis, of="logits") for axis in axes}
        if self.label_smoothing:
            wanted |= {f"{axis} mean": Mean(axis, of="scores") for axis in axes}
        stats: dict[str, torch.Tensor] = vars(reduce(terms, pairs, **wanted))
        one = [stats[a] - self.label_smoothing * stats[f"{a} mean"] if self.label_smoothing else stats[a] for a in axes]
        every = (one[0] + pairs.at_positive(one[1])) / 2 if self.two_sided else one[0]
        return every - (1 - self.label_smoothing) * pairs.positive_scores() / self.temperature
