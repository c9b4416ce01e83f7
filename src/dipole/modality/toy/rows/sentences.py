"""A toy language: sentences of four slots, each row a sentence and a paraphrase with the same meaning.

A meaning is (subject, verb, object, place). Every slot value has two or three words for it; a paraphrase picks other ones and one
of two word orders. Rows with equal meaning share ``label``; ``similarity`` in STS style can be read off ``meaning``:
equal slots / 4. All from one seed.
"""

from __future__ import annotations

import random

from dipole.core.errors import ParameterError
from dipole.core.made import Made
from dipole.core.part import at_least, part
from dipole.core.protocols import Row

__all__ = ["Sentences"]

_SUBJECTS = (("dog", "hound"), ("cat", "feline"), ("child", "kid"), ("doctor", "physician"), ("farmer", "grower"), ("thief", "robber"))
_VERBS = (("sees", "spots"), ("likes", "enjoys"), ("buys", "purchases"), ("hides", "conceals"), ("repairs", "mends"), ("pulls", "drags"))
_OBJECTS = (("ball", "sphere"), ("car", "automobile"), ("stone", "rock"), ("boat", "ship"), ("picture", "image"), ("couch", "sofa"))
_PLACES = (("forest", "woods"), ("street", "road"), ("house", "home"), ("shop", "store"), ("sea", "ocean"), ("hill", "slope"))
SLOTS = (_SUBJECTS, _VERBS, _OBJECTS, _PLACES)


@part
class Sentences(Made):
    """Rows ``anchor``, ``positive``, ``negative`` (one slot differs), ``label``, ``meaning``.

    The first 1296 rows have 1296 different meanings, in an order the seed chooses; then they come again in other words.
    """

    count: int = at_least(1, 256, "how many rows")
    seed: int = at_least(0, 0, "equal seeds, equal rows")

    def __post_init__(self) -> None:
        if self.count > 1_000_000:
            raise ParameterError("toy.sentences", "count", "at most 1000000", self.count)
        chance = random.Random(self.seed)
        meanings = [(a, b, c, d) for a in range(6) for b in range(6) for c in range(6) for d in range(6)]
        chance.shuffle(meanings)
        rows: list[Row] = []
        for place in range(self.count):
            meaning = meanings[place % len(meanings)]
            slot = chance.randrange(4)
            other = list(meaning)
            other[slot] = (other[slot] + chance.randrange(1, 6)) % 6
            first = [chance.randrange(2) for _ in range(4)]
            rows.append(
                {
                    "anchor": say(meaning, first, chance.random() < 0.5),
                    "positive": say(meaning, [1 - word for word in first], chance.random() < 0.5),
                    "negative": say((other[0], other[1], other[2], other[3]), first, chance.random() < 0.5),
                    "label": ((meaning[0] * 6 + meaning[1]) * 6 + meaning[2]) * 6 + meaning[3],
                    "meaning": meaning,
                }
            )
        self.keep(rows, repr(rows).encode())


def say(meaning: tuple[int, int, int, int], chosen: list[int], place_first: bool) -> str:
    """The sentence for a meaning; ``chosen`` picks one of the two words of each slot."""
    subject, verb, thing, place = (slot[value][word] for slot, value, word in zip(SLOTS, meaning, chosen, strict=True))
    return f"in the {place} the {subject} {verb} the {thing}" if place_first else f"the {subject} {verb} the {thing} in the {place}"
