"""SupCon: every other item of the class is a positive; the mean over positives stands outside the logarithm.

    l_i = -sum_{p in P(i)} w_ip s_ip / t / sum_p w_ip + log sum_{a != i} exp(s_ia / t)      one value per query, nats

Shapes: N queries, M keys, any number of positives a row; w = 1 unless ``Pairs.weighted`` grades them, and then this is the
cross-entropy to soft targets w_ip / sum_p w_ip. Source: arXiv:2004.11362, eq. 2 (L_out).
Relation: InfoNCE where every row has one positive; with two views a sample and unique labels it is NT-Xent. SupConIn has the
mean inside the logarithm and is never larger. The authors' code multiplies by t / 0.07; leave that to the learning rate.
Rows without a positive have value 0, as in the authors' code, and no gradient. Errors: DegenerateBatchError where no row
has one.

>>> import torch
>>> from dipole import Pairs
>>> SupCon(temperature=1.0)(Pairs.labelled(torch.eye(3), torch.tensor([0, 0, 1])))
tensor([0.6931, 0.6931, 0.0000])
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
        count, graded = pairs.positives_per_row(), pairs.positive.graded

        def terms(tile: Tile) -> Mapping[str, torch.Tensor]:
            logits = tile.logits(self.temperature)
            if not graded:
                return {"logits": logits, "attracted": tile.only_positive(logits)}
            return {"logits": logits, "attracted": tile.weight * logits, "weight": tile.weight}

        wanted: dict[str, Any] = {"weight": Sum("rows", of="weight")} if graded else {}
        stats = reduce(terms, pairs, every=LogSumExp("rows", of="logits"), attracted=Sum("rows", of="attracted"), **wanted)
        values = stats.every - stats.attracted / (stats.weight.where(count > 0, 1.0) if graded else count.clamp(min=1))
        return torch.where(count > 0, values, 0.0)
