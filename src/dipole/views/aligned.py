"""Pairs from columns: an anchor, its positive, and the row's own hard negatives, any number of them.

Copies within a batch (equal text) are recognised by content and left out instead of serving as false negatives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from dipole.core.errors import DataError
from dipole.core.hard_negatives import with_hard_negatives
from dipole.core.pairs import Pairs
from dipole.core.part import part, switch
from dipole.core.protocols import Batch, Row
from dipole.core.scores import Score
from dipole.core.vectors import Vectors
from dipole.views.ids import content_ids, task_ids
from dipole.views.take import as_list, take

__all__ = ["Aligned", "plain_pairs"]


@part
class Aligned:
    """Row i's anchor belongs to row i's positive; several positives take turns by chance.

    ``negative`` may be a value, a list or absent. Without ``share_negatives`` only its own row sees a negative.
    """

    share_negatives: bool = switch(True, "every row sees every row's hard negatives, not only its own")

    def __call__(self, rows: Sequence[Row]) -> Batch:
        """Sides ``queries``, ``keys`` and, where any row has one, ``negatives`` with ``negatives.owner``."""
        queries = take(rows, "anchor", "aligned")
        keys = [_one(value, place) for place, value in enumerate(take(rows, "positive", "aligned"))]
        owned = [(place, item) for place, row in enumerate(rows) for item in as_list(row.get("negative"))]
        items = {"queries": queries, "keys": keys}
        meta = {"queries.id": content_ids(queries), "keys.id": content_ids(keys)}
        if (tasks := task_ids(rows, "aligned")) is not None:
            meta |= {"queries.task": tasks, "keys.task": tasks}
        if owned:
            negatives = [item for _, item in owned]
            items["negatives"] = negatives
            meta["negatives.id"] = content_ids(negatives)
            meta["negatives.owner"] = torch.tensor([place for place, _ in owned])
        return Batch(items, meta)

    def pairs(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor], score: Score) -> Pairs:
        pairs = Pairs.aligned(sides["queries"], sides["keys"], score=score, query_ids=meta["queries.id"], key_ids=meta["keys.id"])
        if "negatives" not in sides:
            return pairs
        return with_hard_negatives(pairs, sides["negatives"], meta, self.share_negatives)


def plain_pairs(rows: Sequence[Row]) -> Batch:
    """The batch of :class:`Aligned` without hard negatives and without what else rows hold."""
    return Aligned()([{role: row[role] for role in ("anchor", "positive") if role in row} for row in rows])


def _one(value: object, place: int) -> object:
    choices = as_list(value)
    if not choices:
        raise DataError(f"aligned: row {place} of the batch has an empty list of positives", column="positive")
    return choices[int(torch.randint(len(choices), ()))] if len(choices) > 1 else choices[0]
