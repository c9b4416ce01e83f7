"""Graded: every row's value counts by the relevance of its pair.

    l_i = w_i (value of the loss inside)_i,   w_i = map(r_i)      one value per query, in the unit of the loss inside

Shapes: ``by`` names a number of each row, (N,). Maps: ``as_given`` w = r; ``inverse`` w = 1 / r and ``inverse_log`` w = 1 / log2(1 + r)
for ranks from 1 on; ``log`` w = log(1 + r). Weights are not normalised: twice the weights, twice the loss.
Source: arXiv:2404.08535 (with a two-sided InfoNCE inside, both directions of a pair count alike); CLHAIF's row weights,
arXiv:2305.01918; with ``inverse`` of a propensity, inverse propensity weighting of positives, arXiv:1608.04468.
Relation: weight 0 takes a row away as an anchor; it stays a negative of others.
Errors: DataError where rows lack the number, or a weight is negative or no finite number.

>>> import torch
>>> from dataclasses import replace
>>> from dipole import Pairs
>>> from dipole.losses import InfoNCE
>>> pairs = replace(Pairs.aligned(torch.eye(2), torch.eye(2)), rows={"rank": torch.tensor([1, 2])})
>>> Graded(InfoNCE(temperature=1.0), by="rank", map="inverse")(pairs)
tensor([0.3133, 0.1566])
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from dipole.core.errors import DataError
from dipole.core.pairs import Pairs
from dipole.core.part import choice, inner, part, words
from dipole.core.protocols import PairLoss
from dipole.core.requirements import metadata
from dipole.losses.softmax.infonce import InfoNCE

__all__ = ["Graded"]

_MAPS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "as_given": lambda r: r,
    "inverse": torch.reciprocal,
    "inverse_log": lambda r: 1 / torch.log2(1 + r),
    "log": torch.log1p,
}


@part
class Graded(nn.Module):
    """The loss inside, times each row's weight."""

    loss: PairLoss = inner("losses", InfoNCE, "the loss of each row")
    by: str = words("score", "the number of each row that says how relevant its pair is")
    map: str = choice(tuple(_MAPS), "as_given", "from that number to the weight")

    def forward(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        values: torch.Tensor = self.loss(pairs)
        numbers = metadata("graded", self.by, pairs.rows)[pairs.own_rows].to(values.dtype)
        weights = _MAPS[self.map](numbers)
        if bool((wrong := ~((numbers >= 0) & (weights >= 0) & weights.isfinite())).any()):
            rule = f"graded: numbers must be at least 0 and give finite weights, with map = {self.map}"
            raise DataError(rule, column=self.by, value=float(numbers[wrong][0]))
        return values * weights
