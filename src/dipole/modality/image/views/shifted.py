"""Shifted: an image and the same image elsewhere and seen otherwise (its negative, or its edges), with the true shift.

Source of the setting: the multimodal pairs of PRISE, arXiv:2303.11526, with a shift in place of a homography.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch.nn.functional import interpolate, pad

from dipole.core.pairs import Pairs
from dipole.core.part import at_least, between, choice, part, words
from dipole.core.protocols import Batch, Row
from dipole.core.scores import Score
from dipole.core.vectors import Vectors
from dipole.modality.image.pixels import pixels
from dipole.views.ids import content_ids
from dipole.views.take import take

__all__ = ["Shifted"]


@part
class Shifted:
    """``queries``: (1, size, size) grey images in the middle of an empty square; ``keys``: the same moved, with ``keys.warp`` (B, 2)."""

    role: str = words("anchor", "the column the images are in")
    size: int = at_least(8, 32, "pixels a side of the square; an image takes half of it")
    farthest: float = between(0.0, 0.5, 0.25, "largest shift, in halves of the square's side")
    seen: str = choice(("negative", "edges", "same"), "negative", "how the keys show the image")

    def __call__(self, rows: Sequence[Row]) -> Batch:
        images = take(rows, self.role, "image.shifted")
        half = self.size // 2
        grey = torch.stack([interpolate(pixels(image, 1)[None], (half, half), mode="bilinear", align_corners=True)[0] for image in images])
        steps = round(self.farthest * (self.size - 1) / 2)
        moves = torch.randint(-steps, steps + 1, (len(images), 2))
        margin = (self.size - half) // 2
        fixed = pad(grey, (margin, self.size - half - margin) * 2)
        moved = torch.stack([torch.roll(image, (int(down), int(right)), (1, 2)) for image, (right, down) in zip(fixed, moves, strict=True)])
        ids = content_ids(images)
        meta = {"queries.id": ids, "keys.id": ids, "keys.warp": moves * 2 / (self.size - 1)}
        return Batch({"queries": list(fixed), "keys": list(self._otherwise(moved))}, meta)

    def _otherwise(self, images: torch.Tensor) -> torch.Tensor:
        if self.seen == "negative":
            return 1 - images
        if self.seen == "edges":
            down, right = (images - torch.roll(images, 1, axis) for axis in (2, 3))
            return (down.square() + right.square()).sqrt().clamp(max=1)
        return images

    def pairs(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor], score: Score) -> Pairs:
        return Pairs.aligned(sides["queries"], sides["keys"], score=score, query_ids=meta["queries.id"])
