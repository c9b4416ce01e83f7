"""Batch-hard triplet: the row's worst positive must score higher than its best negative by a margin.

    l_i = max(0, m - min_{p in P(i)} s_ip + max_{n not in P(i)} s_in)     one value per query, in units of the score

Shapes: N queries, M keys, any number of positives a row. Source: arXiv:1703.07737, eq. 5, where the score is minus the Euclidean
distance (distance_power with power 1).
Relation: hardest_hinge where every row has one positive.
Rows without a positive have value 0 and no gradient. Errors: DegenerateBatchError where no row has one, or a row that has one
has no negative.

>>> import torch
>>> from dipole import Pairs
>>> BatchHard(margin=0.5)(Pairs.labelled(torch.eye(4), torch.tensor([0, 0, 1, 2])))
tensor([0.5000, 0.5000, 0.0000, 0.0000])
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dipole.core.errors import DegenerateBatchError
from dipole.core.pairs import Pairs
from dipole.core.part import part, positive
from dipole.core.requirements import require_positives
from dipole.pairwise import Max, Tile, reduce

__all__ = ["BatchHard"]


@part
class BatchHard:
    """Violated margin between the hardest positive and the hardest negative."""

    margin: float = positive(0.2, "by how much the worst positive must win")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        require_positives(pairs, "BatchHard")
        has = pairs.positives_per_row() > 0

        def terms(tile: Tile) -> Mapping[str, torch.Tensor]:
            negatives = tile.fill_positive(tile.scores, -torch.inf)
            return {"negative": negatives, "positive": torch.where(tile.positive, -tile.scores, -torch.inf)}

        worst = reduce(terms, pairs, positive=Max("rows", of="positive"), negative=Max("rows", of="negative"))
        lonely = has & (worst.negative == -torch.inf)
        if bool(lonely.any()):
            raise DegenerateBatchError(
                "BatchHard: some rows have no negative", value=f"{int(lonely.sum())} rows", remedy="draw several classes into a batch"
            )
        gap = torch.where(has, worst.positive + worst.negative, 0.0)
        return torch.where(has, (self.margin + gap).relu(), 0.0)
