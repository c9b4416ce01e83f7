"""Entries told by another score: which columns a teacher finds too similar, which are among the hardest."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from dipole.core.scores import Channel, scores_of_block
from dipole.core.vectors import cut


@dataclass(frozen=True, eq=False)
class ByScore:
    """Row i is related to the columns whose score in ``channel`` is above ``bound[i]`` (``above``), or below it.

    ``bound`` (N,), one a row; after flipping one a column. Scores are computed a block at a time, without gradient.
    """

    channel: Channel
    bound: torch.Tensor
    above: bool = True
    by_row: bool = True  # False after flipping: the bound is then per column
    offset: None = None
    graded: bool = False

    def tile(self, rows: slice, cols: slice) -> torch.Tensor:
        with torch.no_grad():
            scores = scores_of_block(self.channel.score, cut(self.channel.queries, rows), cut(self.channel.keys, cols))
            bound = self.bound[rows, None] if self.by_row else self.bound[None, cols]
            return scores > bound if self.above else scores < bound

    def weights(self, rows: slice, cols: slice) -> torch.Tensor:
        return self.tile(rows, cols).float()

    def count(self, rows: slice, n_cols: int) -> torch.Tensor:
        blocks = [self.tile(rows, slice(at, min(at + 4096, n_cols))).sum(1) for at in range(0, n_cols, 4096)]
        return torch.stack(blocks).sum(0)

    def flipped(self) -> ByScore:
        return replace(self, channel=self.channel.flipped(), by_row=not self.by_row)

    def widened(self, more: int) -> ByScore:
        raise ValueError("add negatives before telling entries by their score")
