"""Without similar: columns that a teacher finds too near to the row are no negatives.

    (i, j) is left out where u_ij > above, u_ij > u_ii - margin, or u_ij > ratio u_ii      whichever of the three are given

Shapes: N aligned queries, M keys, a channel ``teacher`` of scores u (a frozen encoder's cosines, say) that carries no gradient. The
positive stays; one value per query, in the unit of the loss inside.
Source: above, arXiv:2205.00656 and arXiv:2310.10962; margin and ratio, the positive-aware filters of
arXiv:2407.15831, here within the batch.
Relation: WithoutEqual where the teacher says equal or not. Distilled learns from the teacher's scores instead.
Errors: DataError without the channel; ParameterError where no bound is given. On a ring the teacher's vectors are gathered.

>>> import torch
>>> from dataclasses import replace
>>> from dipole import Pairs
>>> from dipole.losses import InfoNCE
>>> from dipole.pairwise import Channel
>>> from dipole.pairwise.scores.cosine import Cosine
>>> flat, teacher = torch.ones(3, 2), torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
>>> pairs = replace(Pairs.aligned(flat, flat), channels={"teacher": Channel(teacher, teacher, Cosine())})
>>> WithoutSimilar(InfoNCE(temperature=1.0), above=0.9)(pairs).exp().round()
tensor([2., 2., 3.])
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from dipole.core.by_score import ByScore
from dipole.core.errors import DataError, ParameterError
from dipole.core.pairs import Pairs
from dipole.core.part import at_least, between, inner, optional, part, real
from dipole.core.protocols import PairLoss
from dipole.core.ranks import gather_sides
from dipole.losses.softmax.infonce import InfoNCE

__all__ = ["WithoutSimilar"]


@part
class WithoutSimilar(nn.Module):
    """The loss inside, with fewer negatives."""

    loss: PairLoss = inner("losses", InfoNCE, "the loss of what is left")
    above: float | None = optional(real(about="teacher scores above it are no negatives'"))
    margin: float | None = optional(at_least(0.0, about="nor scores nearer than this below the positive's"))
    ratio: float | None = optional(between(0.0, 1.0, about="nor scores above this share of the positive's"))

    def __post_init__(self) -> None:
        if self.above is None and self.margin is None and self.ratio is None:
            raise ParameterError("without_similar", "above", "given, or margin, or ratio", None, "for example above = 0.9")

    def forward(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        if "teacher" not in pairs.channels:
            raise DataError("without_similar: the pairs must have a channel 'teacher'", remedy="give the encoder a teacher")
        teacher = pairs.channels["teacher"]
        with torch.no_grad():
            own = replace(pairs, queries=teacher.queries, keys=teacher.keys, score=teacher.score, channels={}, weighing=())
            known = own.all_positive_scores()
            if pairs.ring is not None:
                sides = gather_sides({"queries": teacher.queries, "keys": teacher.keys}, {})[0]
                teacher = replace(teacher, queries=sides["queries"], keys=sides["keys"])
        bounds = [torch.full_like(known, self.above)] if self.above is not None else []
        bounds += [known - self.margin] if self.margin is not None else []
        bounds += [known * self.ratio] if self.ratio is not None else []
        near = ByScore(teacher, torch.stack(bounds).amin(0))
        return self.loss(replace(pairs, duplicates=(*pairs.duplicates, near)))
