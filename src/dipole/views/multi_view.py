"""Several views of each item: the encoder's dropout or augmentation makes them differ, or several columns hold them.

Source of the setting: arXiv:2403.05490, arXiv:2507.06979. Equal items of a batch do not repel each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from dipole.core.errors import DataError, ParameterError
from dipole.core.pairs import Pairs
from dipole.core.part import at_least, part, words
from dipole.core.protocols import Batch, Row
from dipole.core.scores import Score
from dipole.core.stacked import stacked
from dipole.core.vectors import Vectors
from dipole.views.ids import content_ids
from dipole.views.take import take

__all__ = ["MultiView"]


@part
class MultiView:
    """V sides of the same items: ``queries``, ``keys``, ``view2`` and so on, with ``queries.id``."""

    count: int = at_least(2, 4, "how many views of an item there are")
    roles: str = words("anchor", "the column of the items, or one column a view, separated by spaces")

    def __post_init__(self) -> None:
        if len(self.roles.split()) not in (1, self.count):
            raise ParameterError("multi_view", "roles", f"one column, or {self.count}, as many as count", self.roles)

    def __call__(self, rows: Sequence[Row]) -> Batch:
        roles = self.roles.split() * (self.count if " " not in self.roles.strip() else 1)
        items = {side: take(rows, role, "multi_view") for side, role in zip(self.sides, roles, strict=True)}
        return Batch(items, {"queries.id": content_ids(items["queries"])})

    @property
    def sides(self) -> list[str]:
        """The names of the sides, one a view."""
        return ["queries", "keys", *(f"view{number}" for number in range(2, self.count))]

    def pairs(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor], score: Score) -> Pairs:
        views = [sides[side] for side in self.sides]
        if not all(isinstance(view, torch.Tensor) for view in views):
            raise DataError("multi_view: views must be one vector an item", remedy="use a score that reads no tokens")
        return stacked(torch.stack([view for view in views if isinstance(view, torch.Tensor)], dim=1), score=score, ids=meta["queries.id"])
