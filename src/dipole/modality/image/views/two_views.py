"""Each image twice, changed by chance each time: the two copies are positives of each other.

Source: SimCLR, arXiv:2002.05709, section 2.1. Copies of an image within a batch are left out of each other's negatives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from dipole.core.pairs import Pairs
from dipole.core.part import at_least, between, part, switch, words
from dipole.core.protocols import Batch, Row
from dipole.core.scores import Score
from dipole.core.vectors import Vectors
from dipole.modality.image.augment import augmented, check
from dipole.views.ids import content_ids
from dipole.views.take import take

__all__ = ["TwoViews"]


@part
class TwoViews:
    """``queries`` and ``keys`` are changed copies (C, size, size) of the same images in the same order.

    Where the rows have whole-number labels, ``queries.label`` and ``keys.label`` come along for objectives that read them.
    """

    role: str = words("anchor", "the column the images are in")
    size: int = at_least(2, 32, "pixels a side of a view")
    crop: float = between(0.0, 1.0, 0.2, "least share of the image's area a view shows; above 0")
    mirror: bool = switch(True, "left and right change places in half of the views")
    color: float = between(0.0, 1.0, 0.5, "how much brightness, contrast, saturation and hue change")
    blur: float = between(0.0, 1.0, 0.0, "share of the views that are blurred")

    def __post_init__(self) -> None:
        check("image.two_views", self)

    def __call__(self, rows: Sequence[Row]) -> Batch:
        """Sides ``queries`` and ``keys``, with ``queries.id`` and ``keys.id``."""
        images = take(rows, self.role, "image.two_views")
        ids = content_ids(images)
        meta = {"queries.id": ids, "keys.id": ids}
        if all(isinstance(row.get("label"), int) for row in rows):
            labels = torch.tensor([row["label"] for row in rows])
            meta |= {"queries.label": labels, "keys.label": labels}
        first, second = (augmented(images, self, "image.two_views") for _ in range(2))
        return Batch({"queries": first, "keys": second}, meta)

    def pairs(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor], score: Score) -> Pairs:
        pairs = Pairs.aligned(sides["queries"], sides["keys"], score=score, query_ids=meta["queries.id"])
        if "queries.label" not in meta:
            return pairs
        known = ("id", "label")
        rows, cols = ({name: meta[f"{side}.{name}"] for name in known} for side in ("queries", "keys"))
        return replace(pairs, rows={**pairs.rows, **rows}, cols={**pairs.cols, **cols})
