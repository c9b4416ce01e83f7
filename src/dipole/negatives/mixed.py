"""Mixed: harder negatives for each row, made of its hardest ones and of the row itself.

    h_ik = unit(a n + (1 - a) n'),  n, n' of the row's ``pool`` hardest negatives, a ~ U(0, 1)          ``between`` of them a row
    h_ik = unit(b q_i + (1 - b) n),  n of the pool, b ~ U(0, 1/2)                                       ``toward`` of them a row

Shapes: N (between + toward) columns, each seen by its own row only; constants, no gradient. A row with no negative gets none.
Source: MoCHi, arXiv:2010.01028, eqs. 4 and 5. Relation: goes after the part that adds columns (``queue`` in the paper). SupReMix mixes
labels too and is a loss of its own. Errors: UsageError where both counts are 0, DataError for token vectors.

>>> one = torch.eye(3)
>>> Mixed(pool=2, between=2, toward=1).extend(Pairs.aligned(one, one), {}, {}).shape
(3, 12)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from dipole.core.errors import UsageError
from dipole.core.pairs import Pairs
from dipole.core.part import at_least, part, switch
from dipole.core.vectors import Vectors, one_tensor
from dipole.negatives.clock import Clock
from dipole.negatives.search import negatives_by_score

__all__ = ["Mixed"]


@part
class Mixed(nn.Module):
    """The same draw on every process: a function of ``seed`` and the steps done."""

    pool: int = at_least(1, 1024, "a row's hardest negatives that are mixed")
    between: int = at_least(0, 1024, "mixtures of two negatives a row")
    toward: int = at_least(0, 128, "mixtures of a negative and the row's own query a row")
    start: int = at_least(0, 0, "steps before there are mixtures")
    unit: bool = switch(True, "mixtures get length one")
    seed: int = at_least(0, 0, "decides the draw")

    def __post_init__(self) -> None:
        if not self.between + self.toward:
            raise UsageError("mixed: between and toward are both 0, so nothing is mixed; raise one, or leave the part out")
        self.clock = Clock()

    def extend(self, pairs: Pairs, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor]) -> Pairs:
        """The pairs with every row's own mixtures as further columns."""
        if int(self.clock.now) < self.start:
            return pairs
        queries, keys = one_tensor(pairs.queries, "mixed").detach(), one_tensor(pairs.keys, "mixed").detach()
        ids = negatives_by_score(pairs, self.pool).ids
        found = (ids >= 0).sum(1)
        rows = found.nonzero().flatten()
        if not len(rows):
            return pairs
        dice, n = self.clock.dice(self.seed, "mixed"), len(queries)
        first, other, share = (self._drawn(n, dice).to(keys.device)[rows] for _ in range(3))
        one = keys[ids[rows].gather(1, (first * found[rows, None]).long())]  # (rows, mixtures, d)
        two = keys[ids[rows].gather(1, (other * found[rows, None]).long())]
        two[:, self.between :] = queries[rows, None]
        share[:, self.between :] /= 2  # a negative keeps more than half
        weight = (1 - share)[..., None].to(keys.dtype)
        mixtures = (weight * one + (1 - weight) * two).flatten(0, 1)
        mixtures = torch.nn.functional.normalize(mixtures, dim=1) if self.unit else mixtures
        return pairs.with_negatives(mixtures, owner=rows.repeat_interleave(self.between + self.toward))

    def _drawn(self, n: int, dice: torch.Generator) -> torch.Tensor:
        return torch.rand(n, self.between + self.toward, generator=dice, dtype=torch.float64)

    def update(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor]) -> None:
        """The next draw is another."""
        self.clock.tick()
