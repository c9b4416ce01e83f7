"""Pairs with a grade: an anchor, the text it is compared with, and how alike they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from dipole.core.errors import DataError
from dipole.core.pairs import Pairs
from dipole.core.part import part, words
from dipole.core.protocols import Batch, Row
from dipole.core.scores import Score
from dipole.core.vectors import Vectors
from dipole.views.ids import content_ids
from dipole.views.take import take

__all__ = ["Scored"]


@part
class Scored:
    """``queries`` and ``keys`` of the same rows, with ``queries.score``; losses read it as ``rows["score"]``."""

    role: str = words("score", "the column of the grades")

    def __call__(self, rows: Sequence[Row]) -> Batch:
        queries, keys = take(rows, "anchor", "scored"), take(rows, "positive", "scored")
        grades = take(rows, self.role, "scored")
        for place, grade in enumerate(grades):
            if isinstance(grade, bool) or not isinstance(grade, (int, float)) or grade != grade:
                raise DataError(f"scored: the grade of row {place} of the batch must be a number", column=self.role, value=grade)
        meta = {"queries.id": content_ids(queries), "keys.id": content_ids(keys)}
        return Batch({"queries": queries, "keys": keys}, {**meta, "queries.score": torch.tensor(grades, dtype=torch.float32)})

    def pairs(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor], score: Score) -> Pairs:
        pairs = Pairs.aligned(sides["queries"], sides["keys"], score=score, query_ids=meta["queries.id"], key_ids=meta["keys.id"])
        return replace(pairs, rows={"score": meta["queries.score"]})
