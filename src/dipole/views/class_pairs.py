"""Class pairs: every item is given a second class by chance, whose items are its positives; both classes are no negatives.

    P(i) = {j != i: y_j = y'_i}      negatives: {j: y_j not in {y_i, y'_i}}      y' a random permutation of the batch's labels

Source: arXiv:2410.13200. Relation: with y' = y it is ``labelled``; the loss ``class_gated`` compares in the pair's own subspace.
An item whose second class is its own is not its own positive; the released code counts it as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from dipole.core.pairs import Pairs
from dipole.core.part import choice, part, words
from dipole.core.protocols import Batch, Row
from dipole.core.relations import Match
from dipole.core.scores import Score
from dipole.core.vectors import Vectors
from dipole.views.labelled import Labelled

__all__ = ["ClassPairs"]


@part
class ClassPairs:
    """One side, ``queries``, with ``queries.label`` and ``queries.partner``. Labels as in ``labelled``; each item needs one."""

    role: str = words("anchor", "the column the items are in")
    partner: str = choice(("any", "other"), "any", "any: the second class may be the item's own; other: it is another, where there is one")

    def __call__(self, rows: Sequence[Row]) -> Batch:
        batch = self._plain()(rows)
        labels = batch.meta["queries.label"]
        partner = labels[torch.randperm(len(labels))]
        if self.partner == "other":
            odds = (labels[:, None] != labels[None]).float()
            odds[odds.sum(1) == 0] = 1.0
            partner = labels[torch.multinomial(odds, 1)[:, 0]]
        return Batch(batch.items, {**batch.meta, "queries.partner": partner})

    def pairs(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor], score: Score) -> Pairs:
        labels, partner = meta["queries.label"], meta["queries.partner"]
        pairs = self._plain().pairs(sides, meta, score)
        return replace(
            pairs,
            positive=Match(partner, labels, others_only=True),
            duplicates=(*pairs.duplicates, Match(labels, labels)),
            rows={**pairs.rows, "label": labels, "partner": partner},
        )

    def _plain(self) -> Labelled:
        return Labelled(role=self.role)
