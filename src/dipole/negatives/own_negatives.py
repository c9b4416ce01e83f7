"""Own negatives: the rows' hard negatives as columns of a comparison to which the views give none, each seen by its own row.

    columns = [keys of the comparison | hard negatives of the rows]

Shapes: the side ``negatives`` and its ``owner``, as the view ``aligned`` gives them. Columns get the metadata ``owner``. A copy of the
row's own key is left out. Source: the text-grounded term of DeGLA, arXiv:2504.16801: a caption asks, its own momentum vector answers,
and its negative captions are the negatives. Relation: between queries and keys the view does it itself; ``own_only`` then leaves
other rows' columns out.
Errors: UsageError where the batch has no hard negatives.

>>> one, owner = torch.eye(2), torch.tensor([1])
>>> sides, meta = {"keys_twin": one, "negatives": one[:1]}, {"negatives.owner": owner, "negatives.id": owner, "keys.id": owner}
>>> OwnNegatives().extend(Pairs.aligned(one, one), sides, meta).shape
(2, 3)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dipole.core.errors import UsageError
from dipole.core.hard_negatives import with_hard_negatives
from dipole.core.pairs import Pairs
from dipole.core.part import names, part
from dipole.core.vectors import Vectors

__all__ = ["OwnNegatives"]


@part
class OwnNegatives:
    """Adds the hard negatives of every row."""

    joins: tuple[str, ...] = names(("keys_twin",), "the comparisons it extends, by the side that answers")

    def extend(self, pairs: Pairs, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor]) -> Pairs:
        """The pairs with the rows' hard negatives as further columns."""
        if "negatives" not in sides:
            raise UsageError("own_negatives: no row has a hard negative; give rows a column 'negative', and the view aligned")
        return with_hard_negatives(pairs, sides["negatives"], meta, share=False)

    def update(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor]) -> None:
        """Nothing is kept."""
