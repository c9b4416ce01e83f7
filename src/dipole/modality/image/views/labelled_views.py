"""Changed copies of labelled images: whoever shares a label is positive, an image's other copies among them.

Source: SupCon, arXiv:2004.11362, section 3.1.
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
from dipole.views.labelled import Labelled

__all__ = ["LabelledViews"]


@part
class LabelledViews:
    """One side, ``queries``: ``copies`` changed copies of every image, with ``queries.label``. Labels as in ``labelled``."""

    role: str = words("anchor", "the column the images are in")
    copies: int = at_least(1, 2, "changed copies of an image")
    size: int = at_least(2, 32, "pixels a side of a view")
    crop: float = between(0.0, 1.0, 0.2, "least share of the image's area a view shows; above 0")
    mirror: bool = switch(True, "left and right change places in half of the views")
    color: float = between(0.0, 1.0, 0.5, "how much brightness, contrast, saturation and hue change")
    blur: float = between(0.0, 1.0, 0.0, "share of the views that are blurred")

    def __post_init__(self) -> None:
        check("image.labelled_views", self)

    def __call__(self, rows: Sequence[Row]) -> Batch:
        batch = self._plain()(rows)
        return Batch({"queries": augmented(batch.items["queries"], self, "image.labelled_views")}, batch.meta)

    def pairs(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor], score: Score) -> Pairs:
        return self._plain().pairs(sides, meta, score)

    def _plain(self) -> Labelled:
        return Labelled(role=self.role, copies=self.copies)
