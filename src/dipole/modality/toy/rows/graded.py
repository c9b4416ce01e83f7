"""Toy pairs with a grade: a sentence, another one, and how many of its four slots say the same.

The sentences are those of ``toy.sentences``. All from one seed.
"""

from __future__ import annotations

import random

from dipole.core.made import Made
from dipole.core.part import at_least, part
from dipole.core.protocols import Row
from dipole.modality.toy.rows.sentences import say

__all__ = ["Graded"]


@part
class Graded(Made):
    """Rows ``anchor``, ``positive`` and ``score`` 1.0 to 4.0: equal slots. Grades are equally frequent."""

    count: int = at_least(1, 256, "how many rows")
    seed: int = at_least(0, 0, "equal seeds, equal rows")

    def __post_init__(self) -> None:
        chance = random.Random(f"graded {self.seed}")
        rows: list[Row] = []
        for place in range(self.count):
            grade = place % 4 + 1
            meaning = [chance.randrange(6) for _ in range(4)]
            other = list(meaning)
            for slot in chance.sample(range(4), 4 - grade):
                other[slot] = (other[slot] + chance.randrange(1, 6)) % 6
            texts = [say((m[0], m[1], m[2], m[3]), [chance.randrange(2) for _ in m], chance.random() < 0.5) for m in (meaning, other)]
            rows.append({"anchor": texts[0], "positive": texts[1], "score": float(grade)})
        self.keep(rows, repr(rows).encode())
