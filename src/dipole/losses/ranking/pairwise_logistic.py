"""Pairwise logistic: the chance that the positive loses against each negative, one against one.

    l_i = sum_{j != i} log(1 + exp((s_ij - s_ii) / t))              one value per query, nats

Shapes: N queries, M >= N keys, aligned. Source: Bayesian personalised ranking, arXiv:1205.2618, with one negative a row; the
logistic loss of arXiv:1902.09229 for k = 1.
Relation: hinge with a round corner; InfoNCE takes one logarithm over all negatives, log(1 + sum_j exp(...)), and is never larger.
Errors: DegenerateBatchError on a single key; DataError unless the pairs are aligned.

>>> import torch
>>> from dipole import Pairs
>>> PairwiseLogistic(temperature=1.0)(Pairs.aligned(torch.eye(3), torch.eye(3)))
tensor([0.6265, 0.6265, 0.6265])
"""

from __future__ import annotations

import torch
from torch.nn.functional import softplus

from dipole.core.noting import note_positive_scores
from dipole.core.pairs import Pairs
from dipole.core.part import part, positive
from dipole.pairwise import Tile, sum_rows

__all__ = ["PairwiseLogistic"]


@part
class PairwiseLogistic:
    """Logistic loss of score differences, summed over negatives, in nats per query."""

    temperature: float = positive(1.0, "differences are divided by it")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        pairs.require_negatives("PairwiseLogistic")

        def lost(tile: Tile) -> torch.Tensor:
            return tile.fill_positive(softplus((tile.scores - tile.rows["positive_score"]) / self.temperature), 0.0)

        return sum_rows(lost, note_positive_scores(pairs))
