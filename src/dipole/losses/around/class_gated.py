"""Class gated: a row is compared in the subspace that its pair of classes chooses.

    g_i = sigmoid(MLP((E[y_i] + E[y'_i]) / 2)) in (0, 1)^d,   s_ij = cos(g_i * q_i, g_i * k_j)      then the loss inside

Shapes: N queries, M keys of ``dimension`` d; classes y, y' in ``rows["label"]`` and ``rows["partner"]``, from 0 to ``classes`` - 1, as
``class_pairs`` gives them. E (classes, ``width``), the MLP: ReLU, LayerNorm, Linear, ReLU, LayerNorm, Linear. One value per query, in the
unit of the loss inside. The score of the pairs is not read. Source: arXiv:2410.13200 (Hydra, later SimLAP); LayerNorm stands where the
paper has BatchNorm, so that a gate depends on no other row. Relation: gates of 1 leave the cosine; score ``gated_cosine`` takes gates.
Errors: DataError without both classes of every row, for a class out of range, and for vectors of another dimension.

>>> from dipole.losses import InfoNCE
>>> gated = ClassGated(InfoNCE(temperature=1.0), dimension=2, classes=3)
>>> (gated.gates(torch.tensor([0, 2]), torch.tensor([2, 0])).diff(dim=0) == 0).all()  # the order of the two does not matter
tensor(True)
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from dipole.core.errors import DataError
from dipole.core.pairs import Pairs
from dipole.core.part import at_least, inner, part
from dipole.core.protocols import PairLoss
from dipole.core.requirements import metadata
from dipole.core.vectors import one_tensor, wide
from dipole.losses.softmax.per_positive import PerPositive
from dipole.pairwise.scores.gated_cosine import GatedCosine

__all__ = ["ClassGated"]


@part
class ClassGated(nn.Module):
    """The loss inside, on cosines of gated vectors."""

    loss: PairLoss = inner("losses", PerPositive, "the loss on gated cosines")
    dimension: int = at_least(1, 256, "d, of the vectors")
    classes: int = at_least(2, 10, "how many classes there are")
    width: int = at_least(1, 512, "of a class's embedding")
    hidden: int = at_least(1, 1024, "units of the network")

    def __post_init__(self) -> None:
        self.embedding = nn.Embedding(self.classes, self.width)
        first, second = nn.Linear(self.width, self.hidden), nn.Linear(self.hidden, self.dimension)
        self.network = nn.Sequential(nn.ReLU(), nn.LayerNorm(self.width), first, nn.ReLU(), nn.LayerNorm(self.hidden), second)

    def gates(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """(n, d) between 0 and 1 for (n,) and (n,) classes."""
        for labels in (first, second):
            if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < self.classes:
                bounds = (int(labels.min()), int(labels.max()))
                raise DataError(f"ClassGated: classes must be from 0 to {self.classes - 1}", value=bounds, remedy="set classes")
        found: torch.Tensor = self.network((self.embedding(first) + self.embedding(second)) / 2).sigmoid()
        return found

    def forward(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        held = pairs.own_rows if pairs.ring is not None else slice(None)
        first, second = (metadata("ClassGated", name, pairs.rows)[held] for name in ("label", "partner"))
        queries, keys = (wide(one_tensor(side, "class_gated")) for side in (pairs.queries, pairs.keys))
        if queries.shape[1] != self.dimension:
            raise DataError("ClassGated: vectors must have the dimension it was made for", value=(queries.shape[1], self.dimension))
        with torch.autocast(queries.device.type, enabled=False):
            gates = self.gates(first, second)
        return self.loss(replace(pairs, queries=(queries, gates), keys=keys, score=GatedCosine()))
