"""Augmented: the items of any view, each changed by chance: crop, mirror, colour, blur.

    { use = "image.augmented", of = { use = "labelled", copies = 2 }, size = 32 }

Who belongs together is for the view inside to say: ``same_twice`` makes two copies of each image, ``labelled`` any number of copies of
labelled ones. It knows images by their content before the change, so copies of one image stay copies.
Source of the changes: SimCLR, arXiv:2002.05709, appendix A.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from dipole.core.pairs import Pairs
from dipole.core.part import at_least, between, inner, part, switch
from dipole.core.protocols import Batch, Row, Views
from dipole.core.scores import Score
from dipole.core.vectors import Vectors
from dipole.modality.image.augment import augmented, check
from dipole.views.same_twice import SameTwice

__all__ = ["Augmented"]


@part
class Augmented:
    """The sides of the view inside, every item a changed copy (C, size, size)."""

    of: Views = inner("views", SameTwice, "the view whose images are changed")
    size: int = at_least(2, 32, "pixels a side of a view")
    crop: float = between(0.0, 1.0, 0.2, "least share of the image's area a view shows; above 0")
    mirror: bool = switch(True, "left and right change places in half of the views")
    color: float = between(0.0, 1.0, 0.5, "how much brightness, contrast, saturation and hue change")
    blur: float = between(0.0, 1.0, 0.0, "share of the views that are blurred")

    def __post_init__(self) -> None:
        check("image.augmented", self)

    def __call__(self, rows: Sequence[Row]) -> Batch:
        batch = self.of(rows)
        return Batch({side: augmented(items, self, "image.augmented") for side, items in batch.items.items()}, batch.meta)

    def pairs(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor], score: Score) -> Pairs:
        return self.of.pairs(sides, meta, score)
