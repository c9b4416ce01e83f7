"""Hardest: of all negatives a row keeps those of the ranks ``skip + 1`` to ``skip + keep``, by score.

    H(i) = {j negative: skip < rank_i(j) <= skip + keep}          rank 1: the highest score; positives are not ranked

``below`` leaves out what scores higher than it, suspected positives, before ranks are given.

Shapes: N keep entries are remembered, not N M. Source: MoCo with hard negative filtering, arXiv:2501.16360 (keep); the upper
quantile of arXiv:2012.09740, section 4.3; ``skip`` as in NV-Retriever, arXiv:2407.15831, section 3. Relation: goes after the
part that adds columns. keep at least the number of negatives changes nothing; keep 1 and a small temperature: the triplet of
the hardest negative. The choice carries no gradient. Errors: DataError where no row keeps any negative.

>>> q, k = torch.eye(1, 3), torch.tensor([[1.0, 0, 0], [0.2, 0, 0], [0.4, 0, 0], [0.9, 0, 0]])
>>> kept = Hardest(keep=1, skip=1).extend(Pairs.aligned(q, k), {}, {})
>>> kept.duplicates[-1].tile(slice(0, 1), slice(0, 4)).tolist()  # the positive is never left out
[[True, True, False, True]]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from dipole.core.errors import DataError
from dipole.core.pairs import Pairs
from dipole.core.part import at_least, optional, part, real
from dipole.core.relations import AllBut, Listed
from dipole.core.vectors import Vectors
from dipole.negatives.search import negatives_by_score

__all__ = ["Hardest"]


@part
class Hardest:
    """A window of ranks, row by row."""

    keep: int = at_least(1, 256, "K': negatives a row keeps")
    skip: int = at_least(0, 0, "the highest ranks, left out as suspected positives")
    below: float | None = optional(real(about="the highest score a negative may have, in the units of the score"))

    def extend(self, pairs: Pairs, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor]) -> Pairs:
        """The pairs without the other negatives."""
        ids = negatives_by_score(pairs, self.skip + self.keep, self.below).ids[:, self.skip :]
        row, rank = (ids >= 0).nonzero(as_tuple=True)
        if not len(row):
            rule = f"hardest: no row has a negative of rank {self.skip + 1} or more"
            raise DataError(rule + (f" below {self.below}" if self.below is not None else ""), remedy="lower skip, or raise below")
        kept = Listed.of(row, ids[row, rank], torch.ones_like(row, dtype=torch.float32))
        return replace(pairs, duplicates=(*pairs.duplicates, AllBut(kept, slice(0, pairs.shape[1]), pairs.device)))

    def update(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor]) -> None:
        """Nothing is kept."""
