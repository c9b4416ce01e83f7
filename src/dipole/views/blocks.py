"""Blocks: a row's key is the mean of several of its positives, and so are the keys that repel it.

Source: CURL's block loss, arXiv:1902.09229, section 6.2: l(f(x) . (mean f(x+) - mean f(x-))), never above the loss on single points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from dipole.core.errors import DataError
from dipole.core.pairs import Pairs
from dipole.core.part import at_least, part
from dipole.core.protocols import Batch, Row
from dipole.core.scores import Score
from dipole.core.vectors import Vectors, one_tensor
from dipole.views.ids import content_ids
from dipole.views.take import as_list, take

__all__ = ["Blocks"]


@part
class Blocks:
    """``queries``, and one side for each place of the block: ``keys``, ``key2`` and so on."""

    size: int = at_least(1, 5, "how many positives of a row are averaged; rows with more draw that many")

    def __call__(self, rows: Sequence[Row]) -> Batch:
        queries = take(rows, "anchor", "blocks")
        drawn = []
        for place, value in enumerate(take(rows, "positive", "blocks")):
            choices = as_list(value)
            if len(choices) < self.size:
                rule = f"blocks: row {place} of the batch must have at least {self.size} positives"
                raise DataError(rule, column="positive", value=len(choices), remedy="lower views.size, or group the rows")
            drawn.append([choices[i] for i in torch.randperm(len(choices))[: self.size].tolist()])
        items = {side: [block[at] for block in drawn] for at, side in enumerate(self.sides)}
        return Batch({"queries": queries, **items}, {"queries.id": content_ids(queries)})

    @property
    def sides(self) -> list[str]:
        """The names of the sides of keys."""
        return ["keys", *(f"key{number}" for number in range(2, self.size + 1))]

    def pairs(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor], score: Score) -> Pairs:
        keys = torch.stack([one_tensor(sides[side], "of a block") for side in self.sides]).mean(0)
        return Pairs.aligned(sides["queries"], keys, score=score, query_ids=meta["queries.id"])
