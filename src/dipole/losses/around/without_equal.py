"""Without equal: columns that share a number with the row are no negatives.

Shapes: ``by`` names whole numbers of rows and of columns, (N,) and (M,): a label, a hash of the content, a source; negative ones
match nothing. Positives stay; one value per query, in the unit of the loss inside.
Source: false-negative elimination by label, arXiv:2011.11765.
Relation: copies of a text are left out by every view already, by their ids; this is for what else tells false negatives.
Errors: DataError where rows or columns lack the number.

>>> import torch
>>> from dataclasses import replace
>>> from dipole import Pairs
>>> from dipole.losses import InfoNCE
>>> label = torch.tensor([0, 0, 1])
>>> pairs = replace(Pairs.aligned(torch.ones(3, 2), torch.ones(3, 2)), rows={"label": label}, cols={"label": label})
>>> WithoutEqual(InfoNCE(temperature=1.0), by="label")(pairs).exp().round()
tensor([2., 2., 3.])
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from dipole.core.pairs import Pairs
from dipole.core.part import inner, part, words
from dipole.core.protocols import PairLoss
from dipole.core.relations import Match
from dipole.core.requirements import metadata
from dipole.losses.softmax.infonce import InfoNCE

__all__ = ["WithoutEqual"]


@part
class WithoutEqual(nn.Module):
    """The loss inside, with fewer negatives."""

    loss: PairLoss = inner("losses", InfoNCE, "the loss of what is left")
    by: str = words("label", "the whole number, of rows and columns, that tells false negatives")

    def forward(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        rows, cols = metadata("without_equal", self.by, pairs.rows), metadata("without_equal", self.by, pairs.cols)
        return self.loss(replace(pairs, duplicates=(*pairs.duplicates, Match(rows, cols))))
