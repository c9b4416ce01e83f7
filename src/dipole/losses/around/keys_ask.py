"""Keys ask: the loss inside, in the other direction.

    l_i of (k_i; q_i among all queries)      one value per query, in the unit of the loss inside

Shapes: N aligned pairs; further keys do not ask. Or as many keys as queries, with any positives, and then one value a key.
Relation: InfoNCE has both directions in one pass with ``two_sided``; every other loss gets them by standing in a recipe twice,
once inside this.
Errors: DataError where pairs are not aligned and there are more keys than queries, or fewer.

>>> import torch
>>> from dipole import Pairs
>>> from dipole.losses import InfoNCE
>>> q, k = torch.eye(2), torch.tensor([[1.0, 1.0], [0.0, 1.0]])
>>> KeysAsk(InfoNCE(temperature=1.0))(Pairs.aligned(q, k)).equal(InfoNCE(temperature=1.0)(Pairs.aligned(k, q)))
True
"""

from __future__ import annotations

import torch
from torch import nn

from dipole.core.errors import DataError
from dipole.core.pairs import Pairs
from dipole.core.part import inner, part
from dipole.core.protocols import PairLoss
from dipole.losses.softmax.infonce import InfoNCE

__all__ = ["KeysAsk"]


@part
class KeysAsk(nn.Module):
    """The loss inside, of keys against queries."""

    loss: PairLoss = inner("losses", InfoNCE, "the loss of the other direction")

    def forward(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        if pairs.positive.offset == 0:
            return self.loss(pairs.answers())
        n, m = pairs.shape
        if n != m:
            raise DataError("keys_ask: needs aligned pairs, or as many keys as queries", value=f"{n} queries, {m} keys")
        return self.loss(pairs.reversed())
