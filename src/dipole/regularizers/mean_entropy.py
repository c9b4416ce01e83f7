"""Mean entropy: the batch's predictions, averaged, spread over the classes, so that not all items end in one.

    R = - H(p) = sum_c p_c log p_c,   p = mean_i softmax(logits_i)        nats; at least -log C

Shapes: C classes, (B, C) ``logits`` of every side, averaged over all items of both. Source: the entropy regulariser of ORCA
(arXiv:2102.03526) and of open-world attribution (CPL, arXiv:2309.11132). Relation: what keeps ``pairwise_bce`` with positives alone
from the trivial answer. Errors: DegenerateBatchError on a single item; DataError where the encoder returns no logits.

>>> import torch
>>> from dipole.core.encoded import Encoded
>>> MeanEntropy().over_encoded({"queries": Encoded(torch.eye(2), logits=100 * torch.eye(2))})
tensor(-0.6931)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dipole.core.encoded import Encoded
from dipole.core.part import part
from dipole.regularizers.sides import logits_of

__all__ = ["MeanEntropy"]


@part
class MeanEntropy:
    """Minus the entropy of the mean prediction."""

    reads = ("logits",)

    def over_encoded(self, sides: Mapping[str, Encoded]) -> torch.Tensor:
        """Scalar, float32 or better."""
        mean = torch.cat(logits_of(sides, "MeanEntropy")).softmax(1).mean(0)
        value: torch.Tensor = -torch.special.entr(mean.clamp(min=torch.finfo(mean.dtype).tiny)).sum()
        return value
