"""InfoNCE from nothing: one term, one reduction."""

import torch

from dipole import Pairs
from dipole.pairwise import Tile, logsumexp_rows


def infonce(pairs: Pairs, temperature: float) -> torch.Tensor:
    """Pick the positive out of all candidates (arXiv:1807.03748, eq. 4); (N,) nats."""

    def logits(tile: Tile) -> torch.Tensor:  # (n, m): a block of rows by a block of columns
        return tile.scores / temperature

    return logsumexp_rows(logits, pairs) - pairs.positive_scores() / temperature
