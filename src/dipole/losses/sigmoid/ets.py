"""ETS: each pair is judged alone by a sigmoid of fixed scale, and a row whose positive was replaced has none.

    l_i = mean_j softplus(-z_ij s_ij / t),   z_ij = 1 for positives, -1 otherwise       one value per query, nats

Shapes: N queries, M keys, any number of positives a row, none included: a replaced key is a negative of the row it stands in.
Source: arXiv:2410.02131, the ECG-text sigmoid loss (t = 1, vectors not normalised).
Relation: SigLIP with bias 0 and nothing learned, divided by the number of candidates, so that its size does not grow with the batch.
Errors: DegenerateBatchError on a single key.

>>> import torch
>>> from dipole import Pairs
>>> ETS()(Pairs.aligned(torch.zeros(2, 2), torch.zeros(2, 2)))
tensor([0.6931, 0.6931])
"""

from __future__ import annotations

import torch
from torch.nn.functional import softplus

from dipole.core.pairs import Pairs
from dipole.core.part import part, positive
from dipole.pairwise import Tile, mean_rows

__all__ = ["ETS"]


@part
class ETS:
    """Pairwise sigmoid, averaged over candidates, in nats per pair."""

    temperature: float = positive(1.0, "scores are divided by it")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        pairs.require_negatives("ETS")

        def mistakes(tile: Tile) -> torch.Tensor:
            logits = tile.scores / self.temperature
            match = tile.positive_or_none
            return softplus(logits if match is None else torch.where(match, -logits, logits))

        return mean_rows(mistakes, pairs)
