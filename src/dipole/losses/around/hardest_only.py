"""Hardest only: of every row's negatives, the share with the highest scores; the others are left out.

Shapes: N queries, M keys; ``share`` of a row's M - 1 candidates, at least one, stay negatives, whatever the temperature; ties with
the last one stay too. The choice carries no gradient. One value per query, in the unit of the loss inside.
Source: the hard contrastive loss of arXiv:2012.09740, section 3.3 (the upper quantile of each anchor's negatives).
Relation: share 1 is the loss inside; InfoNCE of the single hardest negative at a low temperature is a triplet hinge over t.
HNNCE weighs by hardness instead of choosing.
Errors: as the loss inside. On a ring the vectors are gathered for the choice, without gradient.

>>> import torch
>>> from dipole import Pairs
>>> from dipole.losses import InfoNCE
>>> q = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
>>> HardestOnly(InfoNCE(temperature=1.0), share=0.5)(Pairs.aligned(q, q)).allclose(torch.tensor([0.5130, 0.5981, 0.5981]), atol=1e-4)
True
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import nn

from dipole.core.by_score import ByScore
from dipole.core.noting import note_rows
from dipole.core.pairs import Pairs
from dipole.core.part import between, inner, part
from dipole.core.protocols import PairLoss
from dipole.core.ranks import gather_sides
from dipole.core.scores import Channel
from dipole.core.vectors import Vectors
from dipole.losses.softmax.infonce import InfoNCE
from dipole.pairwise import Tile, topk_rows

__all__ = ["HardestOnly"]


@part
class HardestOnly(nn.Module):
    """The loss inside, of the hardest negatives."""

    loss: PairLoss = inner("losses", InfoNCE, "the loss of what is left")
    share: float = between(1e-6, 1.0, 0.0625, "of a row's candidates that stay negatives; 4096 of 65536 in the paper")

    def forward(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""

        def negatives(tile: Tile) -> torch.Tensor:
            return tile.fill_positive(tile.scores, -torch.inf)

        with torch.no_grad():
            count = max(1, math.ceil(self.share * (pairs.shape[1] - 1)))
            last = topk_rows(negatives, pairs, count).values[:, -1]  # -inf where a row has fewer
            last = last - last.abs().clamp(min=1) * (1e-5 if last.dtype == torch.float32 else 1e-12)  # the same score, rounded otherwise
            bound = note_rows(pairs, last=last).rows["last"]
            sides: dict[str, Vectors] = {"queries": pairs.queries, "keys": pairs.keys}
            sides = gather_sides(sides, {})[0] if pairs.ring is not None else sides
        easier = ByScore(Channel(sides["queries"], sides["keys"], pairs.score), bound, above=False)
        return self.loss(replace(pairs, duplicates=(*pairs.duplicates, easier)))
