"""``Tile``: what a tile function sees, a block of n rows and m columns of the score matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from dipole.core.relations import Relation

Terms = torch.Tensor | Mapping[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Tile:
    """A block of the score matrix and what is known of its rows and columns.

    Shapes: n rows, m columns. ``scores`` (n, m) of the pairs' own score; ``channels`` further (n, m) scores by name.
    ``rows[name]`` is shaped (n, 1, ...) and ``cols[name]`` (1, m, ...), ready to broadcast. ``params`` are the
    differentiable parameters handed to the reduction. Entries that ``Pairs`` excludes need no masking here, unless the
    function's slope is infinite there (a square root at an item's distance to itself). ``at`` is the engine's own.
    """

    scores: torch.Tensor
    rows: Mapping[str, torch.Tensor]
    cols: Mapping[str, torch.Tensor]
    params: Mapping[str, torch.Tensor]
    channels: Mapping[str, torch.Tensor]
    at: tuple[slice, slice]
    relation: Relation
    weighing: tuple[str, ...] = ()  # channels that are log-weights of negatives
    index: tuple[torch.Tensor, torch.Tensor] | None = None  # ids of rows and columns, where they are at hand
    _looked_up: list[torch.Tensor | None] = field(default_factory=list)

    @property
    def row_index(self) -> torch.Tensor:
        """(n, 1) int64: the rows' places among all queries."""
        if self.index is not None:
            return self.index[0][:, None]
        return torch.arange(self.at[0].start, self.at[0].stop, device=self.scores.device)[:, None]

    @property
    def col_index(self) -> torch.Tensor:
        """(1, m) int64: the columns' places among all keys."""
        if self.index is not None:
            return self.index[1][None, :]
        return torch.arange(self.at[1].start, self.at[1].stop, device=self.scores.device)[None, :]

    @property
    def positive_or_none(self) -> torch.Tensor | None:
        """``positive``, or None where the block surely holds no positive: saves a pass over most tiles."""
        if not self._looked_up:  # once a tile; a functools cache holds a lock, which the compiler cannot enter
            self._looked_up.append(self.relation.tile(*self.at))
        return self._looked_up[0]

    @property
    def positive(self) -> torch.Tensor:
        """(n, m) bool: who is positive."""
        mask = self.positive_or_none
        return torch.zeros((), dtype=torch.bool, device=self.scores.device).expand(self.scores.shape) if mask is None else mask

    @property
    def weight(self) -> torch.Tensor:
        """(n, m) weight of each positive: as listed, or 1 for every positive and 0 elsewhere."""
        weights = self.relation.weights(*self.at)
        if weights is None:
            return torch.zeros((), dtype=self.scores.dtype, device=self.scores.device).expand(self.scores.shape)
        return weights.to(self.scores.dtype)

    def logits(self, temperature: float | torch.Tensor = 1.0) -> torch.Tensor:
        """(n, m) scores over the temperature, each negative's raised by the log of the weights that ``Pairs`` gives it.

        What every loss with a softmax normaliser starts from; positives weigh 1.
        """
        logits = self.scores / temperature
        for name in self.weighing:
            logits = logits + self.fill_positive(self.channels[name], 0.0)
        return logits

    def fill_positive(self, values: torch.Tensor, with_value: float) -> torch.Tensor:
        """``values`` (n, m) with the positives replaced; costs nothing on tiles without one."""
        mask = self.positive_or_none
        return values if mask is None else values.masked_fill(mask, with_value)

    def only_positive(self, values: torch.Tensor) -> torch.Tensor:
        """``values`` (n, m) with everything but the positives set to 0."""
        mask = self.positive_or_none
        return values * 0.0 if mask is None else torch.where(mask, values, 0.0)


TileFunction = Callable[[Tile], Terms]


def scores_as_they_are(tile: Tile) -> torch.Tensor:
    """The tile function that changes nothing."""
    return tile.scores
