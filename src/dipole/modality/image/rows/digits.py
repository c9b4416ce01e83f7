"""Handwritten digits, 8 x 8 pixels, 17 shades of grey, 1797 of them: scikit-learn's copy, so nothing is fetched.

Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998 (CC BY 4.0).
"""

from __future__ import annotations

import random
from typing import Any

import torch

from dipole.core.errors import ParameterError
from dipole.core.extras import need
from dipole.core.made import Made
from dipole.core.part import at_least, between, choice, part

__all__ = ["Digits"]

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WORDINGS = ("the digit {}", "a handwritten {}", "the number {}", "somebody wrote {}", "an image of {}")
SITES = 8
_TRAIN = 1437  # four fifths; the last fifth is by other hands


@part
class Digits(Made):
    """Rows ``anchor`` (1, 8, 8) uint8, ``positive`` a caption such as "the digit seven", ``label`` 0 to 9, or -1: not known."""

    part: str = choice(("train", "test", "all"), "train", "the first four fifths, the last fifth, or both")
    count: int = at_least(0, 0, "how many rows, from the start of the part; 0: all")
    seed: int = at_least(0, 0, "decides the wording of the captions")
    long_tail: float = at_least(1.0, 1.0, "how many times as frequent 0 is as 9; in between by an even ratio")
    known: int = between(0, 10, 10, "digits from this one on have label -1: nobody says what they are")
    wrong: float = between(0.0, 1.0, 0.0, "share of captions that name another digit, as on the web; labels stay right")
    site: int = between(
        0, SITES, 0, "1 to 8: an eighth of the rows, with a bright spot in images and a name in captions that tell the web site"
    )

    def __post_init__(self) -> None:
        found: Any = need("sklearn.datasets", "image", "image.digits").load_digits()
        places = list({"train": range(_TRAIN), "test": range(_TRAIN, 1797), "all": range(1797)}[self.part])
        if self.long_tail > 1:
            places = self._thinned(places, found.target.tolist())
        if self.site:
            places = places[self.site - 1 :: SITES]
        if self.count > len(places):
            raise ParameterError("image.digits", "count", f"at most {len(places)} for part {self.part}", self.count)
        places = places[: self.count or None]
        grey = torch.from_numpy(found.images[places] * (255 / 16)).round().to(torch.uint8)[:, None]
        if self.site:
            grey[:, 0, self.site - 1, 0] = 255
        chance = random.Random(self.seed)
        rows = []
        for image, label in zip(grey, found.target[places].tolist(), strict=True):
            told = (label + chance.randrange(1, 10)) % 10 if self.wrong and chance.random() < self.wrong else label
            name = NAMES[told] if chance.random() < 0.5 else str(told)
            caption = chance.choice(WORDINGS).format(name) + (f" at site{self.site}" if self.site else "")
            rows.append({"anchor": image, "positive": caption, "label": label if label < self.known else -1})
        told_of = [(row["positive"], row["label"]) if self.known < 10 else row["positive"] for row in rows]
        self.keep(rows, grey.numpy().tobytes() + repr(told_of).encode())

    def _thinned(self, places: list[int], target: list[int]) -> list[int]:
        """The first of each digit, so that their numbers fall from 0 to 9."""
        most = min(sum(target[p] == digit for p in places) for digit in range(10))
        left = [max(1, round(most * self.long_tail ** (-digit / 9))) for digit in range(10)]
        kept = []
        for place in places:
            if left[target[place]] > 0:
                left[target[place]] -= 1
                kept.append(place)
        return kept
