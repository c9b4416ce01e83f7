"""Angular margin: InfoNCE in which the positive must win even after its angle is widened.

    l_i = -log( e^(c_i / t) / (e^(c_i / t) + sum_{j not positive} e^(s_ij / t)) ),   c_i = cos(arccos s_ii + m)

Shapes: N queries, M >= N keys, aligned, scores that are cosines; one value per query, nats. Source: arXiv:1801.07698, eq. 3 (ArcFace).
Past an angle of pi - m, where the cosine would rise again, c_i = s_ii - m sin m goes on falling, as in the authors' code.
Relation: m = 0 is InfoNCE. AdditiveMargin takes the margin off the score.
Errors: DegenerateBatchError on a single key; DataError for scores that are no cosines.

>>> import torch
>>> from dipole import Pairs
>>> AngularMargin(temperature=1.0, margin=0.0)(Pairs.aligned(torch.eye(2), torch.eye(2)))
tensor([0.3133, 0.3133])
"""

from __future__ import annotations

import math

import torch
from torch.nn.functional import softplus

from dipole.core.errors import DataError
from dipole.core.pairs import Pairs
from dipole.core.part import between, part, positive
from dipole.pairwise import logsumexp_negatives

__all__ = ["AngularMargin"]


@part
class AngularMargin:
    """Softmax over all candidates with a handicap for the positive's angle, in nats per query."""

    temperature: float = positive(0.05, "scores are divided by it")
    margin: float = between(0.0, math.pi / 2, 0.2, "m, in radians")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        pairs.require_negatives("AngularMargin")
        scores = pairs.positive_scores()
        if bool((scores.abs() > 1.01).any()):
            raise DataError(
                "AngularMargin: scores must be cosines, from -1 to 1",
                value=float(scores.abs().max()),
                remedy='normalise the vectors, or set score = { use = "cosine" }',
            )
        sine = (1 - scores.square()).clamp(min=1e-12).sqrt()
        widened = scores * math.cos(self.margin) - sine * math.sin(self.margin)
        positives = torch.where(scores > -math.cos(self.margin), widened, scores - self.margin * math.sin(self.margin))
        return softplus(logsumexp_negatives(pairs, self.temperature) - positives / self.temperature)
