"""SupCon: every other item of the class is a positive; the mean over positives stands outside the logarithm.

    l_i = -1/|P(i)| sum_{p in P(i)} s_ip / t + log sum_{a != i} exp(s_ia / t)      one value per query, nats

Shapes: N queries, M keys, any number of positives a row. Source: arXiv:2004.11362, eq. 2 (L_out).
Relation: InfoNCE where every row has one positive; with two views a sample and unique labels it is NT-Xent. The authors'
code multiplies by t / 0.07; leave that to the learning rate.
Rows without a positive have value 0, as in the authors' code, and no gradient; Errors: DegenerateBatchError where no row
has one.

>>> import torch
>>> from dipole import Pairs
>>> SupCon(temperature=1.0)(Pairs.labelled(torch.eye(3), torch.tensor([0, 0, 1])))
tensor([0.6931, 0.6931, 0.0000])
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dipole.core.pairs import Pairs
from dipole.core.part import part, positive
from dipole.core.requirements import require_positives
from dipole.pairwise import LogSumExp, Sum, Tile, reduce

__all__ = ["SupCon"]


@part
class SupCon:
    """Softmax over everything but the item itself, averaged over its positives, in nats per query."""

    temperature: float = positive(0.1, "scores are divided by it")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        require_positives(pairs, "SupCon")
        count = pairs.positives_per_row()

        def terms(tile: Tile) -> Mapping[str, torch.Tensor]:
            logits = tile.scores / self.temperature
            return {"logits": logits, "attracted": tile.only_positive(logits)}

        stats = reduce(terms, pairs, every=LogSumExp("rows", of="logits"), attracted=Sum("rows", of="attracted"))
        values = stats.every - stats.attracted / count.clamp(min=1)
        return torch.where(count > 0, values, 0.0)
