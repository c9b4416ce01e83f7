"""Pairwise BCE: two predictions of a pair should name one class, those of other pairs two, however the classes are called.

    l_i = -mean_{p in P(i)} log s_ip - negative_weight * mean_{n not in P(i)} log(1 - s_in),   s_ij = <softmax(q_i), softmax(k_j)>      nats

Shapes: the vectors are logits over C classes; N queries, M keys, any positives a row. Source: the pairwise objectives of ORCA,
arXiv:2102.03526 (positives alone), and of novel class discovery, arXiv:2002.05714 (negatives too).
Relation: the score is ``same_class``; with positives alone one class for all is an answer, which ``mean_entropy`` forbids.
Probabilities below 1e-7 count as 1e-7, so that disjoint predictions cost 16.1 nats and have no slope.
Rows without a positive (a negative) have no such part. Errors: DegenerateBatchError where no row has a positive.

>>> import torch
>>> from dipole import Pairs
>>> PairwiseBCE()(Pairs.aligned(torch.zeros(2, 4), torch.zeros(2, 4))).exp()  # predictions that know nothing agree by chance
tensor([4., 4.])
"""

from __future__ import annotations

from dataclasses import replace

import torch

from dipole.core.pairs import Pairs
from dipole.core.part import at_least, part
from dipole.core.requirements import require_positives
from dipole.pairwise import Tile, mean_rows, sum_rows
from dipole.pairwise.scores.same_class import SameClass

__all__ = ["PairwiseBCE"]
_LEAST = 1e-7


@part
class PairwiseBCE:
    """Binary cross-entropy of whether two items share a class."""

    negative_weight: float = at_least(0.0, 0.0, "weight of the pairs that should differ")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        require_positives(pairs, "PairwiseBCE")
        count = pairs.positives_per_row()
        judged = replace(pairs, score=SameClass())

        def same(tile: Tile) -> torch.Tensor:
            return tile.only_positive(-tile.scores.clamp(min=_LEAST).log())

        def differ(tile: Tile) -> torch.Tensor:
            return -(1 - tile.scores).clamp(min=_LEAST).log()

        values = sum_rows(same, judged) / count.clamp(min=1)
        if self.negative_weight == 0:
            return values
        others = replace(judged, excluded=(*pairs.excluded, pairs.positive))
        return values + self.negative_weight * mean_rows(differ, others)
