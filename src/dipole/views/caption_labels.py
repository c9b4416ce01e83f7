"""Items labelled by their captions: every word of the caption that is in a vocabulary is a label.

Source: arXiv:2404.15653 (CatLIP), whose vocabulary are the most frequent nouns of all captions, 24320 of them; there WordNet finds
the nouns, here the vocabulary says which words count.

>>> frequent_words(["A red bird", "the bird sings", "a bird, a tree"], size=2)
['a', 'bird']
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from dipole.core.errors import UsageError
from dipole.core.pairs import Pairs
from dipole.core.part import part, words
from dipole.core.protocols import Batch, Row
from dipole.core.scores import Score
from dipole.core.vectors import Vectors
from dipole.views.ids import content_ids
from dipole.views.take import take

__all__ = ["CaptionLabels"]

_WORD = re.compile(r"\w+")


@part
class CaptionLabels:
    """One side, ``queries``; losses read ``rows["label"]`` (N, L): places of the caption's words in the vocabulary, -1 for none.

    Items whose captions name the same words are positives of each other. A caption without any such word has no label.
    """

    vocabulary: str = words(about="the words that are labels, separated by spaces, or a .txt file with one a line; most frequent first")
    role: str = words("anchor", "the column the items are in")
    caption: str = words("positive", "the column the captions are in")

    def __post_init__(self) -> None:
        listed = self._read() if self.vocabulary.endswith(".txt") else self.vocabulary.lower().split()
        if not listed or len(set(listed)) != len(listed):
            repeated = next((word for word, count in Counter(listed).items() if count > 1), "")
            rule = f"caption_labels: vocabulary must be different words{f', but {repeated!r} comes twice' if repeated else ', got none'}"
            raise UsageError(rule)
        vars(self).update(_places={word: place for place, word in enumerate(listed)})

    def __call__(self, rows: Sequence[Row]) -> Batch:
        places: Mapping[str, int] = vars(self)["_places"]
        items, captions = take(rows, self.role, "caption_labels"), take(rows, self.caption, "caption_labels")
        found = [sorted({places[word] for word in _WORD.findall(caption.lower()) if word in places}) for caption in captions]
        width = max(1, *map(len, found))
        counted = torch.tensor(
            [[place + 1 for place in some] + [0] * (width - len(some)) for some in found]
        )  # 0 is what gathering pads with
        named = content_ids(map(str, found)).where(counted[:, 0] > 0, -1)
        return Batch({"queries": items}, {"queries.words": counted, "queries.named": named})

    def pairs(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor], score: Score) -> Pairs:
        labels = {"label": meta["queries.words"] - 1}
        return replace(Pairs.labelled(sides["queries"], meta["queries.named"], score=score), rows=labels, cols=labels)

    def _read(self) -> list[str]:
        try:
            return Path(self.vocabulary).read_text(encoding="utf-8").lower().split()
        except OSError:
            raise UsageError(
                f"{self.vocabulary}: there is no such vocabulary; write one word a line, for example frequent_words(...)"
            ) from None


def frequent_words(captions: Iterable[str], size: int) -> list[str]:
    """The ``size`` most frequent words of all captions, most frequent first, words of one count in alphabetical order."""
    counts = Counter(word for caption in captions for word in _WORD.findall(caption.lower()))
    return [word for word, _ in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))[:size]]
