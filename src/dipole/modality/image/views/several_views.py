"""Each image several times, changed by chance each time: a row's copies are the views of one item.

Source of the changes: SimCLR, arXiv:2002.05709, section 2.1. Copies of an image within a batch do not repel each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from dipole.core.pairs import Pairs
from dipole.core.part import at_least, between, part, switch, words
from dipole.core.protocols import Batch, Row
from dipole.core.scores import Score
from dipole.core.vectors import Vectors
from dipole.modality.image.augment import augmented, check
from dipole.views.multi_view import MultiView

__all__ = ["SeveralViews"]


@part
class SeveralViews:
    """``count`` changed copies (C, size, size) of each image, one side each, for losses over several views."""

    role: str = words("anchor", "the column the images are in")
    count: int = at_least(2, 4, "changed copies of an image")
    size: int = at_least(2, 32, "pixels a side of a view")
    crop: float = between(0.0, 1.0, 0.2, "least share of the image's area a view shows; above 0")
    mirror: bool = switch(True, "left and right change places in half of the views")
    color: float = between(0.0, 1.0, 0.5, "how much brightness, contrast, saturation and hue change")
    blur: float = between(0.0, 1.0, 0.0, "share of the views that are blurred")

    def __post_init__(self) -> None:
        check("image.several_views", self)

    def __call__(self, rows: Sequence[Row]) -> Batch:
        batch = self._plain()(rows)
        return Batch({side: augmented(items, self, "image.several_views") for side, items in batch.items.items()}, batch.meta)

    def pairs(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor], score: Score) -> Pairs:
        return self._plain().pairs(sides, meta, score)

    def _plain(self) -> MultiView:
        return MultiView(count=self.count, roles=self.role)
