"""InfoNCE: pick the positive out of all candidates by softmax.

    l_i = -s_ii / t + log sum_j exp(s_ij / t)                       one value per query, nats

Two-sided: the mean of l_i and of the same with keys asking for queries, from one pass over the scores.

Shapes: N queries, M >= N keys, aligned. Source: arXiv:1807.03748, eq. 4 (there f = exp(s / t)); two-sided arXiv:2103.00020, fig. 3.
Relation: SupCon with one positive a row; DCL leaves the positive out of the sum. Equal scores give log M.
Errors: DegenerateBatchError on a single key; DataError unless each row has one aligned positive (then use SupCon).

>>> import torch
>>> from dipole import Pairs
>>> InfoNCE(temperature=1.0)(Pairs.aligned(torch.eye(2), torch.eye(2)))
tensor([0.3133, 0.3133])
"""

from __future__ import annotations

import torch

from dipole.core.pairs import Pairs
from dipole.core.part import part, positive, switch
from dipole.pairwise import LogSumExp, Tile, logsumexp_rows, reduce

__all__ = ["InfoNCE"]


@part
class InfoNCE:
    """Softmax over all candidates, in nats per query."""

    temperature: float = positive(0.05, "scores are divided by it; smaller looks harder at the nearest negatives")
    two_sided: bool = switch(False, "average with the same loss in which keys ask for queries")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        pairs.require_negatives("InfoNCE")
        positives = pairs.positive_scores() / self.temperature

        def logits(tile: Tile) -> torch.Tensor:
            return tile.scores / self.temperature

        if not self.two_sided:
            return logsumexp_rows(logits, pairs) - positives
        stats = reduce(logits, pairs, rows=LogSumExp("rows"), cols=LogSumExp("cols"))
        both: torch.Tensor = stats.rows + pairs.at_positive(stats.cols)
        return both / 2 - positives
