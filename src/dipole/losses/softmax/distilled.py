"""Distilled softmax: the target is, in part, what a teacher sees in the same candidates.

    l_i = -sum_j y_ij log softmax_j(s_ij / t)_j,   y_ij = a_n softmax_j(u_ij / v) + (1 - a_n) [j is the positive of i]
    a_n = a min(1, n / ramp)       after n steps of training; a_n = a where ramp is 0

Shapes: N queries, M >= N keys, aligned, with a channel ``teacher`` of scores u that carries no gradient; nats per query.
Two-sided: the mean of l_i and of the same with keys asking. Source: arXiv:2107.07651 (momentum
distillation, a = 0.4, rising over the first epoch); with a = 1 the distillation of open_clip's DistillClipLoss.
Relation: a = 0 is InfoNCE. The value is least at y itself, where it is the entropy of y, not 0.
Errors: DegenerateBatchError on a single key; DataError without the channel.

>>> import torch
>>> from dipole import Pairs
>>> from dipole.pairwise import Channel
>>> from dipole.pairwise.scores.cosine import Cosine
>>> eye = torch.eye(2)
>>> pairs = Pairs(eye, eye, Pairs.aligned(eye, eye).positive, channels={"teacher": Channel(eye, eye, Cosine())})
>>> Distilled(temperature=1.0, teacher_temperature=1.0, share=1.0)(pairs)
tensor([0.5822, 0.5822])
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from dipole.core.errors import DataError
from dipole.core.noting import note_rows
from dipole.core.pairs import Pairs
from dipole.core.part import at_least, between, part, positive, switch
from dipole.core.ramp import Ramp
from dipole.pairwise import LogSumExp, Sum, Tile, logsumexp_rows, reduce

__all__ = ["Distilled"]


@part
class Distilled(nn.Module):
    """Softmax to a teacher's softmax, in nats per query."""

    temperature: float = positive(0.07, "scores are divided by it")
    teacher_temperature: float = positive(0.07, "v, the teacher's scores are divided by it")
    share: float = between(0.0, 1.0, 0.4, "a, how much of the target is the teacher's; the rest is the positive's")
    two_sided: bool = switch(False, "average with the same loss in which keys ask for queries")
    ramp: int = at_least(0, 0, "steps over which the teacher's share rises from 0 to a; 0: a from the start")

    def __post_init__(self) -> None:
        self.rising = Ramp(self.ramp)

    def after_step(self) -> None:
        """Let the teacher's share rise."""
        self.rising.advance()

    def forward(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        pairs.require_negatives("Distilled")
        if "teacher" not in pairs.channels:
            raise DataError("Distilled: the pairs must have a channel 'teacher'", remedy="give the encoder a teacher, or use infonce")
        there = self._one_way(pairs)
        return (there + self._one_way(pairs.answers())) / 2 if self.two_sided else there

    def _one_way(self, pairs: Pairs) -> torch.Tensor:
        with torch.no_grad():
            level = logsumexp_rows(lambda tile: tile.channels["teacher"] / self.teacher_temperature, pairs)

        def terms(tile: Tile) -> Mapping[str, torch.Tensor]:
            target = (tile.channels["teacher"].detach() / self.teacher_temperature - tile.rows["level"]).exp()
            return {"logits": tile.logits(self.temperature), "taught": target * tile.scores / self.temperature}

        stats = reduce(terms, note_rows(pairs, level=level), every=LogSumExp("rows", of="logits"), taught=Sum("rows", of="taught"))
        share = self.share * self.rising.height
        values: torch.Tensor = stats.every - share * stats.taught
        return values - (1 - share) * pairs.positive_scores() / self.temperature
