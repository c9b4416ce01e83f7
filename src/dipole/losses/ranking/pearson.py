"""Pearson: one minus the correlation of the pairs' scores with their grades.

    L = 1 - corr(s, y),   s_i = s(q_i, k_i)                          one number for the whole batch, added to each row

Shapes: N aligned pairs with grades y in ``rows["score"]``. Source: arXiv:2508.11442, the Pearson term (weight 2). Values: 0 for
grades that are a rising line in the scores, 1 for none.
Relation: blind to scale and offset of both; rank_kl sees the order of the grades alone, pro the size of their differences.
Equal scores have no correlation, value 1 and no gradient. Errors: DegenerateBatchError where all grades are equal; DataError
without grades.

>>> import torch
>>> from dipole import Pairs
>>> q = torch.tensor([[0.1], [0.2], [0.4]])
>>> pairs = Pairs(q, torch.ones(3, 1), Pairs.aligned(q, q).positive, rows={"score": torch.tensor([1.0, 2.0, 4.0])})
>>> Pearson()(pairs).round(decimals=6).abs()
tensor([0., 0., 0.])
"""

from __future__ import annotations

import torch

from dipole.core.pairs import Pairs
from dipole.core.part import part
from dipole.core.requirements import require_grades

__all__ = ["Pearson"]


@part
class Pearson:
    """Missing correlation, without a unit."""

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        grades, scores = require_grades(pairs, "Pearson"), pairs.all_positive_scores()
        y, s = grades.to(scores.dtype) - grades.to(scores.dtype).mean(), scores - scores.mean()
        varies = s.square().sum() > scores.square().sum() * torch.finfo(scores.dtype).eps ** 2
        spread = torch.where(varies, s.square().sum(), 1.0) * y.square().sum()
        correlation = torch.where(varies, (s * y).sum() / spread.sqrt(), 0.0)
        return (1 - correlation).expand(pairs.own_rows.stop - pairs.own_rows.start)
