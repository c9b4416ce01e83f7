"""Rank KL: the softmax of the pairs' scores over the batch is drawn to the softmax of the grades' ranks.

    l_i = p_i (log p_i - log softmax(s / t)_i),   p = softmax(g / t),   g_i = (n - 1 - r_i) / (n - 1)        nats; mean over rows = KL / n

r_i is the place of grade i, 0 the best, equal grades sharing their mean place.

Shapes: N aligned pairs with grades in ``rows["score"]``. Source: arXiv:2508.11442, the rank-KL term (t = 0.05, weight 5), divided by n
as in the authors' code.
Relation: any rising change of the grades leaves it as it is; list_kl compares candidates of one query, this one the pairs of a batch.
Errors: DegenerateBatchError where all grades are equal; DataError without grades.

>>> import torch
>>> from dipole import Pairs
>>> q = torch.tensor([[0.0], [0.5], [1.0]])
>>> pairs = Pairs(q, torch.ones(3, 1), Pairs.aligned(q, q).positive, rows={"score": torch.tensor([1.0, 2.0, 9.0])})
>>> RankKL()(pairs)  # scores that already stand as the ranks do
tensor([0., 0., 0.])
"""

from __future__ import annotations

import torch

from dipole.core.pairs import Pairs
from dipole.core.part import part, positive
from dipole.core.requirements import require_grades

__all__ = ["RankKL"]


@part
class RankKL:
    """Divergence of the batch's scores from the ranks of its grades, in nats."""

    temperature: float = positive(0.05, "scores and ranks are divided by it")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        grades, scores = require_grades(pairs, "RankKL"), pairs.all_positive_scores()
        ordered, n = grades.sort().values, len(grades)
        below, up_to = (torch.searchsorted(ordered, grades, right=right) for right in (False, True))
        heights = (below + up_to - 1).to(scores.dtype) / 2 / (n - 1)  # 1 the best, equal grades sharing their mean
        target, student = ((x / self.temperature).log_softmax(0) for x in (heights, scores))
        return (target.exp() * (target - student))[pairs.own_rows]
