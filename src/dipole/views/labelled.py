"""Items with a label: whoever shares a label is positive, nothing is compared with itself.

Source of the two-view form: SupCon, arXiv:2004.11362, section 3.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from dipole.core.errors import DataError
from dipole.core.pairs import Pairs
from dipole.core.part import at_least, part, words
from dipole.core.protocols import Batch, Row
from dipole.core.scores import Score
from dipole.core.vectors import Vectors
from dipole.views.ids import content_ids, task_ids
from dipole.views.take import take

__all__ = ["Labelled"]


@part
class Labelled:
    """One side, ``queries``, with ``queries.label``. Texts and numbers are labels; negative whole numbers mean none."""

    role: str = words("anchor", "the column the items are in")
    copies: int = at_least(1, 1, "how often each item is encoded: with 2, dropout gives every item a positive")

    def __call__(self, rows: Sequence[Row]) -> Batch:
        items = take(rows, self.role, "labelled")
        labels = take(rows, "label", "labelled")
        for place, label in enumerate(labels):
            if not isinstance(label, (int, str)):
                rule = f"labelled: the label of row {place} of the batch must be a whole number or a text"
                raise DataError(rule, column="label", value=label, remedy="graded scores need another view")
        ids = torch.tensor([label if isinstance(label, int) else int(content_ids([label])) for label in labels], dtype=torch.int64)
        meta = {"queries.label": ids.repeat(self.copies)}
        if (tasks := task_ids(rows, "labelled")) is not None:
            meta["queries.task"] = tasks.repeat(self.copies)
        return Batch({"queries": items * self.copies}, meta)

    def pairs(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor], score: Score) -> Pairs:
        return Pairs.labelled(sides["queries"], meta["queries.label"], score=score)
