"""An anchor and several modalities of the same item: one column each.

Source of the setting: arXiv:2412.11959, a caption with the frames, the sound and the subtitles of its clip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from dipole.core.errors import DataError
from dipole.core.pairs import Pairs
from dipole.core.part import part, words
from dipole.core.protocols import Batch, Row
from dipole.core.scores import Score
from dipole.core.vectors import Vectors
from dipole.views.ids import content_ids
from dipole.views.take import take

__all__ = ["Modalities"]


@part
class Modalities:
    """``queries`` are the anchors; ``keys``, ``view2`` and so on the other columns, stacked to (N, V, d) keys."""

    anchor: str = words("anchor", "the column of the queries")
    roles: str = words("positive", "the columns of the item's other modalities, separated by spaces")

    def __call__(self, rows: Sequence[Row]) -> Batch:
        items = {side: take(rows, role, "modalities") for side, role in self.columns.items()}
        return Batch(items, {"queries.id": content_ids(items["queries"])})

    @property
    def columns(self) -> dict[str, str]:
        """Side -> column."""
        names = ["keys", *(f"view{number}" for number in range(2, 1 + len(self.roles.split())))]
        return {"queries": self.anchor, **dict(zip(names, self.roles.split(), strict=True))}

    def pairs(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor], score: Score) -> Pairs:
        others = [sides[side] for side in self.columns if side != "queries"]
        if not all(isinstance(vectors, torch.Tensor) for vectors in others):
            raise DataError("modalities: each must be one vector an item", remedy="use a score that reads no tokens")
        keys = torch.stack([vectors for vectors in others if isinstance(vectors, torch.Tensor)], dim=1)
        return Pairs.aligned(sides["queries"], keys, score=score, query_ids=meta["queries.id"])
