"""Margin MSE: the score difference of the positive and a candidate is fitted to the teacher's difference.

    l_i = mean_{j != p} ( (s_ip - s_ij) - (u_ip - u_ij) )^2               one value per query, squared units of the teacher's score

Shapes: N queries, lists of L candidates each (``candidate_lists`` views), p the row's positive. Source: arXiv:2010.02666, eq. 4,
where j is one negative; scores are dot products that may take any size.
Relation: nothing changes when a constant is added to all scores of a list; list_kl has that too, but follows shares, not sizes.
Rows whose list has fewer than two candidates have value 0. Errors: as list_kl, and DataError unless the pairs are aligned.

>>> import torch
>>> from dipole import Pairs
>>> from dipole.core.scores import Channel, Dot
>>> eye, one = torch.eye(2), {"list": torch.zeros(2, dtype=torch.int64)}
>>> pairs = Pairs(eye, eye, Pairs.aligned(eye, eye).positive, rows=one, cols=one, channels={"teacher": Channel(3 * eye, eye, Dot())})
>>> MarginMSE()(pairs)
tensor([4., 4.])
"""

from __future__ import annotations

from dataclasses import replace

import torch

from dipole.core.lists import lists_of
from dipole.core.pairs import Pairs
from dipole.core.part import part

__all__ = ["MarginMSE"]


@part
class MarginMSE:
    """Squared error of score differences."""

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        lists, teacher = lists_of(pairs, "MarginMSE"), pairs.channels["teacher"]
        with torch.no_grad():
            best = replace(pairs, queries=teacher.queries, keys=teacher.keys, score=teacher.score).positive_scores()
        ours, theirs = pairs.positive_scores()[:, None] - lists.scores, best[:, None] - lists.teacher
        missed = (ours - theirs).square().masked_fill(~lists.listed, 0.0).sum(1)  # 0 for the positive itself
        return torch.where(lists.compares, missed / (lists.listed.sum(1) - 1).clamp(min=1), 0.0)
