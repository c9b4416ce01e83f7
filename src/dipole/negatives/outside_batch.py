"""Outside batch: of the batch's keys a row keeps its positive; its negatives are the other columns.

    candidates of row i = [k_i | queue, hard negatives, noise ...]          MoCo: the queue alone holds negatives

Shapes: as they were. Source: MoCo, arXiv:1911.05722, algorithm 1; InfoXLM, arXiv:2007.07834, section 4. Relation: goes after the
part that adds columns, ``queue`` for example. While there are no other columns (a queue still empty) the batch's keys stay, since
a softmax over the positive alone would teach nothing. Errors: none.

>>> one = torch.eye(2)
>>> kept = OutsideBatch().extend(Pairs.aligned(one, one).with_negatives(one), {"queries": one, "keys": one}, {})
>>> [[bool(kept.excluded[-1].tile(slice(i, i + 1), slice(0, 4))[0, j]) for j in range(4)] for i in range(2)]
[[False, True, False, False], [True, False, False, False]]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from dipole.core.pairs import Pairs
from dipole.core.part import part
from dipole.core.relations import AllBut
from dipole.core.vectors import Vectors, side_length

__all__ = ["OutsideBatch"]


@part
class OutsideBatch:
    """Other rows' keys are no negatives."""

    def extend(self, pairs: Pairs, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor]) -> Pairs:
        """The pairs without the batch's own negatives, where there are others."""
        batch = side_length(sides.get("keys", sides["queries"]))
        if pairs.shape[1] <= batch:
            return pairs
        return replace(pairs, excluded=(*pairs.excluded, AllBut(pairs.positive, slice(0, batch), pairs.device)))

    def update(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor]) -> None:
        """Nothing is kept."""
