"""CACR: far positives attract most, near negatives repel most; the weights are softmaxes, the costs are plain distances.

    l_i = a sum_{p in P(i)} w+_ip d_ip - b sum_{n not in P(i)} w-_in d_in,   d_ij = |q_i - k_j|^2       one value per query

    w+_i = softmax_p(t_pos d_ip) over the row's positives,   w-_i = softmax_n(-t_neg d_in) over its negatives

Shapes: N queries, M keys, any number of positives a row, unit vectors (the loss does not normalise, and is unbounded below
without). Source: arXiv:2105.03746, the attraction and the repulsion cost, as the authors' code has them.
live: the gradient flows through the weights, as in the authors' small-scale code; without, they are constants, as in their code with
a momentum encoder, and the repulsion then has the gradient of (b / t_neg) log sum_n exp(-t_neg d_in), InfoNCE's.
Relation: with one positive the attraction is align_uniform's; t_pos = t_neg = 0 weighs all alike.
Rows without a positive are repelled only. Errors: DegenerateBatchError where no row has one, or a row has no negative.

>>> import torch
>>> from dipole import Pairs
>>> CACR()(Pairs.aligned(torch.eye(3), torch.eye(3)))
tensor([-2., -2., -2.])
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from dipole.core.errors import DegenerateBatchError
from dipole.core.pairs import Pairs
from dipole.core.part import at_least, part, switch
from dipole.core.requirements import require_positives
from dipole.pairwise import LogSumExp, Tile, reduce
from dipole.pairwise.scores.neg_squared_distance import NegSquaredDistance

__all__ = ["CACR"]


@part
class CACR:
    """Contrastive attraction and contrastive repulsion, in squared units of the vectors."""

    far_positives: float = at_least(0, 1.0, "t_pos: how much more far positives attract")
    near_negatives: float = at_least(0, 0.9, "t_neg: how much more near negatives repel; 0.9 for CIFAR-10, 2 for CIFAR-100")
    attract_weight: float = at_least(0, 1.0, "a")
    repel_weight: float = at_least(0, 1.0, "b")
    live: bool = switch(True, "the gradient flows through the weights")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        pairs.require_negatives("CACR")
        require_positives(pairs, "CACR")

        def terms(tile: Tile) -> Mapping[str, torch.Tensor]:
            distance = (-tile.scores).clamp(min=0.0)
            near = tile.fill_positive(-self.near_negatives * distance, -torch.inf)
            far = torch.where(tile.positive, self.far_positives * distance, -torch.inf)
            shift = distance.log1p()  # a weighted mean of 1 + d is a ratio of two sums of exponentials
            return {"far": far, "far_cost": far + shift, "near": near, "near_cost": near + shift}

        z = reduce(
            terms,
            replace(pairs, score=NegSquaredDistance()),
            far=LogSumExp("rows", of="far"),
            far_cost=LogSumExp("rows", of="far_cost"),
            near=LogSumExp("rows", of="near"),
            near_cost=LogSumExp("rows", of="near_cost"),
        )
        if bool((z.near == -torch.inf).any()):
            raise DegenerateBatchError("CACR: some rows have no negative", remedy="raise batch_size, or drop copies of one item")
        has = pairs.positives_per_row() > 0
        attract = self._mean(torch.where(has, z.far, 0.0), torch.where(has, z.far_cost, 0.0), self.far_positives)
        return self.attract_weight * attract - self.repel_weight * self._mean(z.near, z.near_cost, -self.near_negatives)

    def _mean(self, weights: torch.Tensor, costs: torch.Tensor, sharpness: float) -> torch.Tensor:
        """Weighted mean of the distances; not live: with the gradient of the log-sum-exp of the weights."""
        mean = (costs - weights).exp() - 1
        if self.live or sharpness == 0:
            return mean
        steady = weights / sharpness
        return steady + (mean - steady).detach()
