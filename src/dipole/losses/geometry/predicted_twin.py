"""Predicted twin: a small network on top of each view guesses what the momentum encoder makes of the other view; nothing is repelled.

    l_i = -(cos(p(q_i), t_k,i) + cos(p(k_i), t_q,i)) / 2,   t: the twin's vectors, constants; p: two layers, or nothing

Where ``neighbours`` adds channels twin_1 .. twin_k, each cosine is the mean over the twin's vector and its k neighbours.

Shapes: N aligned pairs of d dimensions, and the channel ``twin`` that ``twin_views`` adds (twin's queries, twin's keys). Range -1 to 1.
Source: BYOL, arXiv:2006.07733, eq. 2, which is twice this plus 2; BECLR, arXiv:2402.02444, takes it for its positives. LayerNorm stands
between the layers, where the papers have a BatchNorm, so that an item's vector depends on no other item.
Relation: without p and with the student for a twin, the attraction of ``spectral``. Further columns are not read.
Errors: DataError without the channel, or unless row i's positive is column i.

>>> from dataclasses import replace
>>> from dipole import Pairs
>>> from dipole.core.scores import Channel, Dot
>>> x, twin = torch.eye(2), torch.eye(2).flip(0)
>>> PredictedTwin(dimension=2, hidden=0)(replace(Pairs.aligned(x, x), channels={"twin": Channel(twin, x, Dot())}))
tensor([-0.5000, -0.5000])
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import cosine_similarity

from dipole.core.errors import DataError
from dipole.core.pairs import Pairs
from dipole.core.part import at_least, part
from dipole.core.vectors import Vectors, cut, of_length, one_tensor, wide

__all__ = ["PredictedTwin"]


@part
class PredictedTwin(nn.Module):
    """Minus the cosine to the other view's slow copy."""

    dimension: int = at_least(1, about="d")
    hidden: int = at_least(0, 64, "width of the network that predicts; 0: none")

    def __post_init__(self) -> None:
        width, d = self.hidden, self.dimension
        self.predict = nn.Sequential(nn.Linear(d, width), nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, d)) if width else nn.Identity()

    def forward(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        if "twin" not in pairs.channels:
            raise DataError("PredictedTwin: the pairs have no channel 'twin'", remedy='list { use = "twin_views" } under negatives')
        if pairs.aligned_at("PredictedTwin") != 0:
            raise DataError("PredictedTwin: row i's positive must be column i", value=pairs.positive.offset)
        first, second = (self.predict(self._own(pairs, side)) for side in (pairs.queries, pairs.keys))
        values = torch.zeros_like(first[:, 0])
        targets = [channel for name, channel in pairs.channels.items() if name.split("_")[0] == "twin"]
        for target in targets:
            first_twin, second_twin = (self._own(pairs, side).detach() for side in (target.queries, target.keys))
            near = cosine_similarity(first, second_twin, dim=1) + cosine_similarity(second, first_twin, dim=1)
            values = values - near / (2 * len(targets))
        return values

    def _own(self, pairs: Pairs, side: Vectors) -> torch.Tensor:
        vectors = one_tensor(side if pairs.ring is not None else cut(side, pairs.own_rows), "predicted_twin")
        of_length("predicted_twin", "dimension", vectors, self.dimension)
        return wide(vectors[: pairs.own_rows.stop - pairs.own_rows.start])
