"""Whitened: both sides are whitened in shuffled groups of coordinates before they are compared; keys several times, as several positives.

    l = sum over positives of the loss inside on (Y_q, Y_k),   Y = whiten(X) under a permutation of its own, then tanh(Y W + b) if ``head``

Shapes: N queries, M keys of d dimensions, further keys among the M; means and covariances are those of the whole side, over all processes.
Each whitening shuffles differently, so that one vector gives several views. Source: WhitenedCSE, arXiv:2305.17746; there every
positive is a dropout pass of its own, here further positives are the same keys under other shuffles. The gradient goes through the
covariance; the authors' code holds it constant.
Relation: with one group, full ZCA, shuffling changes nothing; with d groups, standardisation of each coordinate.
Errors: ParameterError where groups do not divide d; DegenerateBatchError where a side holds too few items for its groups; DataError on a
ring, whose ranks do not hold a side.

>>> import torch
>>> from dipole import Pairs
>>> x = torch.tensor([[1.0], [-1.0], [3.0], [-3.0]])
>>> loss = Whitened(InfoNCE(temperature=1.0), groups=1, positives=2)
>>> torch.allclose(loss(Pairs.aligned(x, x)), loss(Pairs.aligned(7 * x + 5, x)))
True
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from dipole.core.chance import Chance
from dipole.core.errors import DataError, ParameterError
from dipole.core.pairs import Pairs
from dipole.core.part import at_least, inner, part
from dipole.core.protocols import PairLoss
from dipole.core.vectors import one_tensor, wide
from dipole.core.whitening import whiten
from dipole.losses.softmax.infonce import InfoNCE

__all__ = ["Whitened"]


@part
class Whitened(nn.Module):
    """The loss inside, of whitened vectors, summed over whitenings of the keys."""

    loss: PairLoss = inner("losses", InfoNCE, "the loss of the whitened vectors")
    groups: int = at_least(1, 128, "groups of coordinates; they must divide d")
    positives: int = at_least(1, 2, "whitenings of the keys")
    head: int = at_least(0, 0, "d, for a learned layer and tanh on top; 0: none")

    def __post_init__(self) -> None:
        self.chance = Chance()
        self.layer = nn.Linear(self.head, self.head) if self.head else None

    def forward(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        if pairs.ring is not None:
            raise DataError("Whitened: needs the whole batch at hand, but a ring's ranks hold their own part", remedy="gather instead")
        chance = self.chance.next()
        queries, keys = (wide(one_tensor(side, "whitened")) for side in (pairs.queries, pairs.keys))
        asked = self._whitened(queries, chance)
        values = [self.loss(replace(pairs, queries=asked, keys=self._whitened(keys, chance))) for _ in range(self.positives)]
        return torch.stack(values).sum(0)

    def _whitened(self, x: torch.Tensor, chance: torch.Generator) -> torch.Tensor:
        if x.shape[1] % self.groups:
            raise ParameterError("whitened", "groups", f"a divisor of {x.shape[1]} dimensions", self.groups)
        with torch.autocast(x.device.type, enabled=False):
            y = whiten(x, self.groups, torch.randperm(x.shape[1], generator=chance))
            return y if self.layer is None else torch.tanh(y @ wide(self.layer.weight).T + wide(self.layer.bias))
