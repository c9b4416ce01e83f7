"""PRO: each pair must score above all pairs with a lower grade, weighed by how much lower.

    l_k = -log  e^{d_k s_k / t} / ( e^{d_k s_k / t} + sum_{j: y_j < y_k} e^{(y_k - y_j) s_j / t} ),   d_k = max_j (y_k - y_j)      nats

Shapes: N aligned pairs with grades y in ``rows["score"]``, s_i = s(q_i, k_i). Source: arXiv:2508.11442, the preference-rank term
(t = 0.05, weight 0.5). The reported mean is over the pairs that have one below them, so their values are scaled by N over their number.
Relation: with two pairs it is log(1 + exp(-(y_1 - y_2)(s_1 - s_2) / t)).
Pairs of the lowest grade have value 0. Errors: DegenerateBatchError where all grades are equal; DataError without grades.

>>> import torch
>>> from dipole import Pairs
>>> q = torch.tensor([[1.0], [0.0]])
>>> pairs = Pairs(q, torch.ones(2, 1), Pairs.aligned(q, q).positive, rows={"score": torch.tensor([3.0, 1.0])})
>>> PRO(temperature=1.0)(pairs)  # 2 log(1 + e^-2), and the mean halves it
tensor([0.2539, 0.0000])
"""

from __future__ import annotations

from dataclasses import replace

import torch

from dipole.core.pairs import Pairs
from dipole.core.part import part, positive
from dipole.core.relations import Match
from dipole.core.requirements import require_grades
from dipole.core.scores import Dot
from dipole.pairwise import Tile, logsumexp_rows

__all__ = ["PRO"]


@part
class PRO:
    """Preference ranking of graded pairs, in nats per pair that has one below."""

    temperature: float = positive(0.05, "scores are divided by it")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        grades = require_grades(pairs, "PRO")
        scores = replace(pairs, local=None).positive_scores()[:, None]  # of all rows; on a ring the own ones, which then travel
        y = grades.to(scores.dtype)
        nobody = Match(torch.full_like(grades, -1, dtype=torch.int64), torch.full_like(grades, -1, dtype=torch.int64))
        meta = {"grade": y}
        among = Pairs(torch.ones_like(scores), scores, nobody, Dot(), rows=meta, cols=meta, local=pairs.local, ring=pairs.ring)

        def weighed(tile: Tile) -> torch.Tensor:
            lower = tile.rows["grade"] - tile.cols["grade"]
            return torch.where(lower > 0, lower * tile.scores / self.temperature, -torch.inf)

        below = logsumexp_rows(weighed, among)
        own = y[pairs.own_rows]
        best = (own - y.min()) * pairs.positive_scores() / self.temperature
        values = torch.logaddexp(best, below) - best
        return torch.where(own > y.min(), values, 0.0) * (len(y) / (y > y.min()).sum())
