"""Effective rank: how many directions the batch uses, as something to lower or to raise.

    R = sum over sides of  +- exp( - sum_k p_k log p_k ),   p_k = s_k / sum_l s_l,   s: singular values of X (B, d), not centred

Shapes: (B, d) pooled vectors of a side. Units: directions, from 1 to min(B, d). Source: Roy & Vetterli 2007, definition 1; lowered, as
the rank reduction of "Unveiling Key Aspects of Fine-Tuning in Sentence Embeddings" (2024); raised, against collapse.
Relation: ``dipole.diagnostics.effective_rank`` is the same number without a gradient; ``variance`` guards single coordinates.
Errors: DegenerateBatchError on a single item and where every vector is 0.

>>> import torch
>>> from dipole.core.encoded import Encoded
>>> float(EffectiveRank().over_encoded({"queries": Encoded(torch.eye(4))}).round(decimals=3))
4.0
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dipole.core.encoded import Encoded
from dipole.core.errors import DegenerateBatchError
from dipole.core.part import part, switch
from dipole.regularizers.sides import pooled_sides

__all__ = ["EffectiveRank"]


@part
class EffectiveRank:
    """exp of the entropy of the singular values."""

    raised: bool = switch(False, "reward a high rank instead of penalising it")

    reads = ("pooled",)

    def over_encoded(self, sides: Mapping[str, Encoded]) -> torch.Tensor:
        """Scalar, float32 or better."""
        total = torch.stack([_rank(x) for x in pooled_sides(sides, "EffectiveRank")]).sum()
        return -total if self.raised else total


def _rank(x: torch.Tensor) -> torch.Tensor:
    values = torch.linalg.svdvals(x)
    if not bool(values[0] > 0):
        raise DegenerateBatchError("EffectiveRank: every vector is 0, so they span no direction", value=tuple(x.shape))
    share = values / values.sum()
    share = share[share > torch.finfo(share.dtype).eps]  # below it is rounding, where the entropy's slope has no bound
    rank: torch.Tensor = torch.special.entr(share).sum().exp()
    return rank
