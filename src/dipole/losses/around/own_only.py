"""Own only: a row sees its positive and its own hard negatives, and nothing of other rows.

Shapes: columns have ``owner`` (M,) int64, the row each belongs to, as the view ``aligned`` gives them; columns of nobody (a queue) are
left out. One value per query, in the unit of the loss inside; a row without own negatives has nothing to be told apart from,
and with InfoNCE inside the value 0.
Source: the image-grounded term of DeGLA, arXiv:2504.16801; within-item negatives of arXiv:2210.01936 (NegCLIP).
Relation: without it hard negatives are seen as the view shares them.
Errors: DataError where columns have no owner; DegenerateBatchError where no row has a hard negative of its own.

>>> import torch
>>> from dataclasses import replace
>>> from dipole import Pairs
>>> from dipole.losses import InfoNCE
>>> flat = torch.ones(3, 2)
>>> pairs = replace(Pairs.aligned(flat, flat), cols={"owner": torch.arange(3)})
>>> pairs = pairs.with_negatives(flat, cols={"owner": torch.tensor([0, 0, 2])})
>>> OwnOnly(InfoNCE(temperature=1.0))(pairs).exp().round()
tensor([3., 1., 2.])
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from dipole.core.errors import DegenerateBatchError
from dipole.core.pairs import Pairs
from dipole.core.part import inner, part
from dipole.core.protocols import PairLoss
from dipole.core.relations import Owned
from dipole.core.requirements import metadata
from dipole.losses.softmax.infonce import InfoNCE

__all__ = ["OwnOnly"]


@part
class OwnOnly(nn.Module):
    """The loss inside, of a row's own columns."""

    loss: PairLoss = inner("losses", InfoNCE, "the loss of a row's own columns")

    def forward(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        n = pairs.shape[0]
        owner = metadata("own_only", "owner", pairs.cols)
        if not bool((owner[n:] >= 0).any()):
            raise DegenerateBatchError(
                "own_only: no row has a hard negative of its own, so there is nothing to tell apart",
                value=f"{n} rows, {pairs.shape[1]} columns",
                remedy="give rows a column 'negative'",
            )
        owner = owner.where(owner >= 0, n)  # of a row that there is not
        return self.loss(replace(pairs, excluded=(*pairs.excluded, Owned(owner))))
