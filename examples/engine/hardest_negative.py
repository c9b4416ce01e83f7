"""A hinge on the hardest negative of each row: masks and a maximum."""

import torch

from dipole import Pairs
from dipole.pairwise import Tile, max_rows


def hardest_negative(pairs: Pairs, margin: float) -> torch.Tensor:
    """Each positive must beat its row's best negative by a margin (arXiv:1707.05612, eq. 6, one direction); (N,)."""

    def negatives(tile: Tile) -> torch.Tensor:
        return tile.fill_positive(tile.scores, -torch.inf)  # nothing to fill on most tiles, and then free

    return (margin + max_rows(negatives, pairs) - pairs.positive_scores()).relu()
