"""SupCon, inner form: the mean over the positives stands inside the logarithm, so that one near positive is enough.

    l_i = -log( mean_{p in P(i)} exp(s_ip / t) / sum_{a != i} exp(s_ia / t) )      one value per query, nats

Shapes: N queries, M keys, any number of positives a row; graded positives count by their weight in the mean.
Source: arXiv:2004.11362, eq. 3 (L_in). With a sum in place of the mean, and so log |P(i)| less, it is MIL-NCE (arXiv:1912.06430, eq. 1).
Relation: at most SupCon, by Jensen, and equal where a row has one positive.
Rows without a positive have value 0 and no gradient. Errors: DegenerateBatchError where no row has one.

>>> import torch
>>> from dipole import Pairs
>>> SupConIn(temperature=1.0)(Pairs.labelled(torch.eye(3), torch.tensor([0, 0, 1])))
tensor([0.6931, 0.6931, 0.0000])
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dipole.core.pairs import Pairs
from dipole.core.part import part, positive
from dipole.core.requirements import require_positives
from dipole.pairwise import LogSumExp, Sum, Tile, reduce

__all__ = ["SupConIn"]


@part
class SupConIn:
    """Softmax over everything but the item itself, of the sum of its positives, in nats per query."""

    temperature: float = positive(0.1, "scores are divided by it")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        require_positives(pairs, "SupConIn")
        count = pairs.positives_per_row()

        def terms(tile: Tile) -> Mapping[str, torch.Tensor]:
            logits = tile.logits(self.temperature)
            return {"logits": logits, "positives": logits + tile.weight.log(), "weight": tile.weight}

        stats = reduce(
            terms,
            pairs,
            every=LogSumExp("rows", of="logits"),
            positives=LogSumExp("rows", of="positives"),
            weight=Sum("rows", of="weight"),
        )
        some = count > 0
        attracted = stats.positives.where(some, 0.0) - stats.weight.where(some, 1.0).log()
        return torch.where(some, stats.every - attracted, 0.0)
