"""List KL: the softmax over a row's own list is drawn to the teacher's softmax over the same list.

    l_i = sum_j p_ij (log p_ij - log softmax_j(s_ij / t)_j),   p_i = softmax_j(u_ij / v)            one value per query, nats

Shapes: N queries, lists of L candidates each (``candidate_lists`` views), a teacher's scores u; ragged lists are padded and masked. Source:
ListNet's top-one probabilities (Cao et al., ICML 2007) as a divergence; arXiv:2505.19274 with t = 0.05, v = 0.3.
Relation: distilled takes all candidates of the batch instead of the list, and the cross-entropy instead of the divergence, so its
least value is the teacher's entropy. As v falls to 0 it is InfoNCE over the list with the teacher's favourite as positive.
Rows whose list has fewer than two candidates have value 0. Errors: DegenerateBatchError where no list has two; DataError
without lists or teacher, and on a ring.

>>> import torch
>>> from dipole import Pairs
>>> from dipole.core.scores import Channel, Dot
>>> eye, one = torch.eye(2), {"list": torch.zeros(2, dtype=torch.int64)}
>>> pairs = Pairs(eye, eye, Pairs.aligned(eye, eye).positive, rows=one, cols=one, channels={"teacher": Channel(eye, eye, Dot())})
>>> ListKL(temperature=1.0, teacher_temperature=1.0)(pairs)
tensor([0., 0.])
"""

from __future__ import annotations

import torch

from dipole.core.lists import lists_of
from dipole.core.pairs import Pairs
from dipole.core.part import part, positive

__all__ = ["ListKL"]


@part
class ListKL:
    """Divergence from the teacher's distribution over the list, in nats per query."""

    temperature: float = positive(0.05, "scores are divided by it")
    teacher_temperature: float = positive(0.3, "v, the teacher's scores are divided by it")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        lists = lists_of(pairs, "ListKL")
        listed = lists.listed | ~lists.compares[:, None]  # a row without a list gets numbers that are thrown away, not NaN
        target, student = (
            (scores / temperature).masked_fill(~listed, -torch.inf).log_softmax(1)
            for scores, temperature in ((lists.teacher, self.teacher_temperature), (lists.scores, self.temperature))
        )
        gap = (target - student).masked_fill(~listed, 0.0)
        return torch.where(lists.compares, (target.exp() * gap).sum(1), 0.0)
