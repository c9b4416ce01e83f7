"""A query with its own list of candidates, each scored by a teacher: a positive, mined negatives, and a score for every one.

Every row's negatives are columns for all rows, as in ``aligned``; which belong to whom is kept as ``rows["list"]`` and
``cols["list"]``, and the teacher's scores as a channel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from dipole.core.errors import DataError
from dipole.core.pairs import Pairs
from dipole.core.part import part, words
from dipole.core.protocols import Batch, Row
from dipole.core.scores import Channel, Dot, Score
from dipole.core.vectors import Vectors, leading
from dipole.views.aligned import Aligned
from dipole.views.take import as_list, take

__all__ = ["CandidateLists"]


@part
class CandidateLists:
    """The sides of ``aligned``, with ``keys.score`` and ``negatives.score``."""

    role: str = words("score", "the column of the teacher's scores: the positive's first, then those of the negatives in their order")

    def __call__(self, rows: Sequence[Row]) -> Batch:
        batch = Aligned()(rows)
        scores = [as_list(value) for value in take(rows, self.role, "candidate_lists")]
        for place, (row, given) in enumerate(zip(rows, scores, strict=True)):
            wanted = 1 + len(as_list(row.get("negative")))
            if len(as_list(row["positive"])) != 1 or len(given) != wanted:
                rule = f"candidate_lists: row {place} of the batch must have one positive and {wanted} scores, one for each candidate"
                raise DataError(rule, column=self.role, value=len(given))
        rest = [score for given in scores for score in given[1:]]
        meta = {**batch.meta, "keys.score": torch.tensor([float(given[0]) for given in scores])}
        return Batch(batch.items, meta | ({"negatives.score": torch.tensor([float(s) for s in rest])} if rest else {}))

    def pairs(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor], score: Score) -> Pairs:
        pairs = Aligned().pairs(sides, meta, score)
        own = torch.arange(pairs.shape[0], device=pairs.device)
        owners, scores = own, meta["keys.score"]
        if "negatives" in sides:
            owners, scores = torch.cat([own, meta["negatives.owner"]]), torch.cat([scores, meta["negatives.score"]])
        taught = Channel(scores.new_ones(len(leading(pairs.queries)), 1), scores[:, None], Dot())
        return replace(pairs, rows={**pairs.rows, "list": own}, cols={**pairs.cols, "list": owners}, channels={"teacher": taught})
