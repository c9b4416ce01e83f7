"""Several positives a row, all of them at once: every positive of a row is a key of the row's group.

Hard negatives come as in ``aligned``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from dipole.core.pairs import Pairs
from dipole.core.part import part, switch
from dipole.core.protocols import Batch, Row
from dipole.core.relations import Listed, copies
from dipole.core.scores import Score
from dipole.core.vectors import Vectors
from dipole.views.ids import content_ids, task_ids
from dipole.views.take import as_list, take

__all__ = ["Grouped"]


@part
class Grouped:
    """Queries (N), keys (M >= N): ``keys.group`` says which anchor each key answers.

    Rows with an equal anchor form one group: the positives of one are positives of the other. A column whose text is also
    one of row i's positives, but came with another anchor, is left out of row i.
    """

    share_negatives: bool = switch(True, "every row sees every row's hard negatives, not only its own")

    def __call__(self, rows: Sequence[Row]) -> Batch:
        """Sides ``queries``, ``keys`` and, where any row has one, ``negatives`` with ``negatives.owner``."""
        queries = take(rows, "anchor", "grouped")
        keys, owner = _owned(take(rows, "positive", "grouped"))
        ids = content_ids(queries)
        items = {"queries": queries, "keys": keys}
        meta = {"queries.id": ids, "keys.id": content_ids(keys), "keys.group": ids[owner]}
        if (tasks := task_ids(rows, "grouped")) is not None:
            meta |= {"queries.task": tasks, "keys.task": tasks[owner]}
        negatives, owner = _owned([row.get("negative") for row in rows])
        if negatives:
            items["negatives"] = negatives
            meta |= {"negatives.id": content_ids(negatives), "negatives.owner": owner}
        return Batch(items, meta)

    def pairs(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor], score: Score) -> Pairs:
        pairs = Pairs.grouped(sides["queries"], sides["keys"], meta["queries.id"], meta["keys.group"], score=score)
        col_ids = meta["keys.id"]
        if "negatives" in sides:
            owner = meta["negatives.owner"]
            pairs = pairs.with_negatives(sides["negatives"], torch.full_like(owner, -1) if self.share_negatives else owner)
            col_ids = torch.cat([col_ids, meta["negatives.id"]])
        row, col = copies(meta["queries.id"], meta["keys.group"], meta["keys.id"], col_ids)
        return replace(pairs, duplicates=(*pairs.duplicates, Listed.of(row, col, torch.ones_like(row, dtype=torch.float32))))


def _owned(values: Sequence[object]) -> tuple[list[object], torch.Tensor]:
    """The items of all rows in one list, and the row of each, (M,) int64."""
    owned = [(place, item) for place, value in enumerate(values) for item in as_list(value)]
    return [item for _, item in owned], torch.tensor([place for place, _ in owned], dtype=torch.int64)
