"""ListMLE: the likelihood of the teacher's order, drawn candidate by candidate without replacement.

    l_i = sum_m [ log sum_{l >= m} e^{s_i(l) / t} - s_i(m) / t ],   (1), (2), ... the list by falling teacher score     nats per query

Candidates the teacher scores alike: each is drawn from all that are no better than it (Breslow's rule), so that the value does not depend
on how ties are broken; the authors break them by chance.

Shapes: N queries, lists of L candidates each (``candidate_lists`` views); ragged lists are padded and masked. Source: Xia et al.,
ICML 2008, eq. 4 (Plackett-Luce); arXiv:2502.13656 refines sentence embeddings with it, t = 0.05.
Relation: only the order of the teacher's scores counts, where list_kl follows their size; its first summand is InfoNCE over the
list with the teacher's favourite as positive.
Rows whose list has fewer than two candidates have value 0. Errors: as list_kl.

>>> import torch
>>> from dipole import Pairs
>>> from dipole.core.scores import Channel, Dot
>>> scores, eye, one = torch.tensor([[3.0, 2.0, 1.0]] * 3), torch.eye(3), {"list": torch.zeros(3, dtype=torch.int64)}
>>> taught = {"teacher": Channel(scores, eye, Dot())}
>>> ListMLE(temperature=1.0)(Pairs(scores, eye, Pairs.aligned(eye, eye).positive, rows=one, cols=one, channels=taught))
tensor([0.7209, 0.7209, 0.7209])
"""

from __future__ import annotations

import torch

from dipole.core.lists import lists_of
from dipole.core.pairs import Pairs
from dipole.core.part import part, positive

__all__ = ["ListMLE"]


@part
class ListMLE:
    """Minus the log-likelihood of the teacher's order, in nats per query."""

    temperature: float = positive(0.05, "scores are divided by it")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        lists = lists_of(pairs, "ListMLE")
        rank = (-lists.teacher).masked_fill(~lists.listed, torch.inf)
        ascending, order = rank.sort(dim=1, stable=True)  # the teacher's favourite first, padding last
        scores, listed = (lists.scores / self.temperature).gather(1, order), lists.listed.gather(1, order)
        rest = scores.masked_fill(~listed, -torch.inf).flip(1).logcumsumexp(1).flip(1)
        first_equal = torch.searchsorted(ascending.contiguous(), ascending)
        drawn = rest.gather(1, first_equal) - scores
        return torch.where(lists.compares, drawn.masked_fill(~listed, 0.0).sum(1), 0.0)
