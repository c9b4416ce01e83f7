"""Items with a number: equal numbers are positive, and losses read how far apart numbers are.

Source of the setting: SupReMix, arXiv:2309.16633 (regression: an age, a count, a grade).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from dipole.core.errors import DataError
from dipole.core.pairs import Pairs
from dipole.core.part import at_least, part, words
from dipole.core.protocols import Batch, Row
from dipole.core.scores import Score
from dipole.core.vectors import Vectors
from dipole.views.take import take

__all__ = ["Numbered"]


@part
class Numbered:
    """One side, ``queries``, with ``queries.score``; losses read it as ``rows["score"]`` and ``cols["score"]``."""

    role: str = words("anchor", "the column the items are in")
    number: str = words("score", "the column of the numbers")
    copies: int = at_least(1, 1, "how often each item is encoded: with 2, every item has a positive")

    def __call__(self, rows: Sequence[Row]) -> Batch:
        items, numbers = take(rows, self.role, "numbered"), take(rows, self.number, "numbered")
        for place, number in enumerate(numbers):
            if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
                rule = f"numbered: {self.number} of row {place} of the batch must be a finite number"
                raise DataError(rule, column=self.number, value=number)
        score = torch.tensor(numbers, dtype=torch.float32)
        return Batch({"queries": items * self.copies}, {"queries.score": score.repeat(self.copies)})

    def pairs(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor], score: Score) -> Pairs:
        number = meta["queries.score"]
        pairs = Pairs.labelled(sides["queries"], number.unique(return_inverse=True)[1], score=score)
        return replace(pairs, rows={**pairs.rows, "score": number}, cols={**pairs.cols, "score": number})
