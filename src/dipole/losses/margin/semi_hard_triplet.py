"""Semi-hard triplet: the margin is asked of the hardest negative that the row already ranks below its positive.

    l_i = max(0, m - s_ii + s_ij*),   j* = argmax { s_ij : j != i, s_ij < s_ii }    one value per query, in units of the score

Where every negative scores at least as high as the positive, j* is the lowest of them, as in TensorFlow's implementation.

Shapes: N queries, M >= N keys, aligned. With the score neg_squared_distance and unit vectors it is the paper's.
Source: arXiv:1503.03832, eqs. 3 and 4.
Relation: hardest_hinge takes the hardest of all, which collapses early training where labels are noisy.
Errors: DegenerateBatchError on a single key, and where a row's other keys are all copies of its positive; DataError unless aligned.

>>> import torch
>>> from dipole import Pairs
>>> SemiHardTriplet(margin=1.5)(Pairs.aligned(torch.eye(3), torch.eye(3)))
tensor([0.5000, 0.5000, 0.5000])
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dipole.core.errors import DegenerateBatchError
from dipole.core.noting import note_positive_scores
from dipole.core.pairs import Pairs
from dipole.core.part import part, positive
from dipole.pairwise import Max, Tile, reduce

__all__ = ["SemiHardTriplet"]


@part
class SemiHardTriplet:
    """Violated margin of the semi-hard negative."""

    margin: float = positive(0.2, "by how much the positive must win")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        pairs.require_negatives("SemiHardTriplet")

        def terms(tile: Tile) -> Mapping[str, torch.Tensor]:
            below = tile.scores.where(tile.scores < tile.rows["positive_score"], -torch.inf)
            return {"below": tile.fill_positive(below, -torch.inf), "lowest": tile.fill_positive(-tile.scores, -torch.inf)}

        found = reduce(terms, note_positive_scores(pairs), below=Max("rows", of="below"), lowest=Max("rows", of="lowest"))
        if bool((found.lowest == -torch.inf).any()):
            raise DegenerateBatchError(
                "SemiHardTriplet: some rows have no negative that counts",
                value=f"{int((found.lowest == -torch.inf).sum())} of {len(found.lowest)} rows",
                remedy="raise batch_size, or drop copies of one item",
            )
        negative = torch.where(found.below == -torch.inf, -found.lowest, found.below)
        return (self.margin - pairs.positive_scores() + negative).relu()
