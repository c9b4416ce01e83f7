"""Captioned views: an image and its caption nearly as they are, and beside them copies of both that are changed much.

    queries: a weak crop      keys: the caption      local_image1 ... A: changed copies      local_text1 ... A: words left out and moved

Losses name the sides they compare (``between``): all rows of any image side belong to the same rows of any text side. Shapes: B rows,
2 + 2 A sides. Source: CLIP-Rocket, arXiv:2305.08675, whose captions also lose stop words and get synonyms, which need word lists.
Relation: ``image.local_heads`` gives the local sides heads of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from dipole.core.pairs import Pairs
from dipole.core.part import at_least, between, part, switch
from dipole.core.protocols import Batch, Row
from dipole.core.scores import Score
from dipole.core.vectors import Vectors
from dipole.modality.image.augment import augmented, check
from dipole.views.aligned import plain_pairs

__all__ = ["CaptionedViews"]


@dataclass
class Change:
    """How much an image is changed."""

    size: int
    crop: float
    mirror: bool = False
    color: float = 0.0
    blur: float = 0.0


@part
class CaptionedViews:
    """Copies of an image or a text within a batch are left out of each other's negatives."""

    count: int = at_least(1, 2, "A: changed copies of an image, and of its caption")
    size: int = at_least(2, 32, "pixels a side of a view")
    whole: float = between(0.0, 1.0, 0.5, "least share of the image's area that the weak crop shows; above 0")
    crop: float = between(0.0, 1.0, 0.2, "least share of the image's area that a changed copy shows; above 0")
    mirror: bool = switch(True, "left and right change places in half of the changed copies")
    color: float = between(0.0, 1.0, 0.5, "how much brightness, contrast, saturation and hue change")
    drop: float = between(0.0, 1.0, 0.2, "share of a caption's words that are left out; one stays")
    swap: float = between(0.0, 1.0, 0.4, "share of captions in which two words change places")

    def __post_init__(self) -> None:
        for view in self._changes():
            check("image.captioned_views", view)

    def __call__(self, rows: Sequence[Row]) -> Batch:
        batch = plain_pairs(rows)
        images, texts = batch.items["queries"], batch.items["keys"]
        weak, strong = self._changes()
        items = {"queries": augmented(images, weak, "image.captioned_views"), "keys": texts}
        meta = dict(batch.meta)
        for number in range(1, self.count + 1):
            items[f"local_image{number}"] = augmented(images, strong, "image.captioned_views")
            items[f"local_text{number}"] = [changed(text, self.drop, self.swap) for text in texts]
            meta |= {f"local_image{number}.id": meta["queries.id"], f"local_text{number}.id": meta["keys.id"]}
        return Batch(items, meta)

    def pairs(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor], score: Score) -> Pairs:
        return Pairs.aligned(sides["queries"], sides["keys"], score=score, query_ids=meta["queries.id"], key_ids=meta["keys.id"])

    def _changes(self) -> tuple[Change, Change]:
        return Change(self.size, self.whole), Change(self.size, self.crop, self.mirror, self.color)


def changed(text: str, drop: float, swap: float) -> str:
    """The text with each word left out by the chance ``drop``, one at least kept, and by the chance ``swap`` two of them exchanged."""
    words = text.split()
    kept = [word for word, chance in zip(words, torch.rand(len(words)).tolist(), strict=True) if chance >= drop]
    words = kept or words[:1]
    if len(words) > 1 and float(torch.rand(())) < swap:
        one, other = torch.randperm(len(words))[:2].tolist()
        words[one], words[other] = words[other], words[one]
    return " ".join(words)
