"""Masked words: pairs, and the texts once more with some words taken out, to be told from what is left.

    of the words of a text, each by the chance ``share`` and one at least: 80 % become [MASK], 10 % another word of the batch, 10 % stay

Shapes: sides ``queries``, ``keys`` and ``masked``; ``masked.targets`` (B, L), L words of the longest text: 0 where nothing is asked,
else 1 more than the word's class, a hash of the word modulo ``classes`` (two words may share one). Source: BERT, arXiv:1810.04805,
section 3.1; for pairs of images and texts ALBEF, arXiv:2107.07651. Relation: ``fusion`` reads the side.
Errors: DataError for keys that are no texts.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import torch

from dipole.core.errors import DataError
from dipole.core.pairs import Pairs
from dipole.core.part import at_least, between, part
from dipole.core.protocols import Batch, Row
from dipole.core.scores import Score
from dipole.core.vectors import Vectors
from dipole.views.aligned import Aligned

__all__ = ["MaskedWords"]
MASK = "[MASK]"


@part
class MaskedWords:
    """As ``aligned``, with the side ``masked``."""

    share: float = between(0.0, 1.0, 0.15, "of the words that are asked for")
    classes: int = at_least(2, 4096, "of words")

    def __call__(self, rows: Sequence[Row]) -> Batch:
        batch = Aligned()(rows)
        for place, text in enumerate(batch.items["keys"]):
            if not isinstance(text, str):
                raise DataError(f"masked_words: the positive of row {place} of the batch must be a text", value=text)
        said = [text.split() for text in batch.items["keys"]]
        pool = [word for words in said for word in words]
        targets = torch.zeros(len(said), max(1, *map(len, said)), dtype=torch.int64)
        for row, words in enumerate(said):
            for place in self._asked(len(words)):
                targets[row, place] = 1 + class_of(words[place], self.classes)
                chance = float(torch.rand(()))
                if chance < 0.9:
                    words[place] = MASK if chance < 0.8 else pool[int(torch.randint(len(pool), ()))]
        return Batch({**batch.items, "masked": [" ".join(words) for words in said]}, {**batch.meta, "masked.targets": targets})

    def pairs(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor], score: Score) -> Pairs:
        return Aligned().pairs(sides, meta, score)

    def _asked(self, count: int) -> list[int]:
        chosen: list[int] = (torch.rand(count) < self.share).nonzero().flatten().tolist()
        return chosen or ([int(torch.randint(count, ()))] if count else [])


def class_of(word: str, classes: int) -> int:
    """From 0 to ``classes`` - 1, the same in every process; capitals do not count."""
    return zlib.crc32(word.lower().encode()) % classes
