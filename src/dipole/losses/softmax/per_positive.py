"""One softmax per positive: each positive is told apart from the negatives alone, never from other positives.

    l_i = mean_{p in P(i)} log(1 + sum_{n not in P(i)} exp((s_in - s_ip) / t))      one value per query, nats

Shapes: N queries, M keys, any number of positives a row; graded positives count by their weight in the mean. Source: the NT-Xent
of several positives as pytorch-metric-learning computes it; arXiv:2309.14277 (SINCERE); the geometric multi-view loss of
arXiv:2403.05490, where the views of a sample share a label.
Relation: InfoNCE where a row has one positive. SupCon has the other positives in every denominator and so pushes them away.
Rows without a positive have value 0 and no gradient. Errors: DegenerateBatchError where no row has one.

>>> import torch
>>> from dipole import Pairs
>>> PerPositive(temperature=1.0)(Pairs.labelled(torch.eye(4), torch.tensor([0, 0, 0, 1])))
tensor([0.6931, 0.6931, 0.6931, 0.0000])
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn.functional import softplus

from dipole.core.noting import note_rows
from dipole.core.pairs import Pairs
from dipole.core.part import part, positive
from dipole.core.requirements import require_positives
from dipole.pairwise import Sum, Tile, logsumexp_negatives, reduce

__all__ = ["PerPositive"]


@part
class PerPositive:
    """Softmax of every positive against the row's negatives, averaged over the positives, in nats per query."""

    temperature: float = positive(0.1, "scores are divided by it")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        require_positives(pairs, "PerPositive")
        count = pairs.positives_per_row()
        repelled = logsumexp_negatives(pairs, self.temperature)

        def terms(tile: Tile) -> Mapping[str, torch.Tensor]:
            weight = tile.weight
            each = softplus(tile.rows["repelled"] - tile.scores / self.temperature)
            return {"each": weight * each, "weight": weight}

        stats = reduce(terms, note_rows(pairs, repelled=repelled), each=Sum("rows", of="each"), weight=Sum("rows", of="weight"))
        return torch.where(count > 0, stats.each / stats.weight.where(count > 0, 1.0), 0.0)
