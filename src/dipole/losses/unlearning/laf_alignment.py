"""LAF alignment: what is kept stays where the old model put it, what is forgotten moves away from there.

    l_i = c_i - log sum_{j in F} exp(c_j / t)   for i kept,  0 for i in F,   c_i = 1 - cos(q_i, k_i)        one value per item, nats

Shapes: N items, aligned: q_i the vector of the model being edited, k_i that of its frozen copy; ``rows["forget"]`` (N,) is true for
the set F. Source: arXiv:2404.00506, the representation alignment loss as the authors' code has it. The sum is over forgotten items
against their own old vectors: the same number for every kept item, so this is no softmax over candidates, and it is unbounded
below only as far as cosines reach.
Relation: laf_extraction is the other half of the method.
Errors: DegenerateBatchError where a batch holds nothing to keep or nothing to forget; DataError without ``forget``.

>>> import torch
>>> from dataclasses import replace
>>> from dipole import Pairs
>>> pairs = Pairs.aligned(torch.eye(3), torch.eye(3))
>>> LAFAlignment()(replace(pairs, rows={"forget": torch.tensor([False, True, True])}))  # nothing moved: -log 2
tensor([-0.6931,  0.0000,  0.0000])
"""

from __future__ import annotations

from dataclasses import replace

import torch

from dipole.core.pairs import Pairs
from dipole.core.part import part, positive
from dipole.core.requirements import require_both
from dipole.core.vectors import one_tensor, wide
from dipole.pairwise.scores.cosine import Cosine

__all__ = ["LAFAlignment"]


@part
class LAFAlignment:
    """Keeping some vectors and moving others, in nats per item."""

    temperature: float = positive(20.0, "distances of forgotten items are divided by it")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        forget = require_both("LAFAlignment", "forget", pairs.rows)
        queries, keys = (wide(one_tensor(side, "laf_alignment")) for side in (pairs.queries, pairs.keys))
        moved = 1 - replace(pairs, queries=queries, keys=keys, score=Cosine()).all_positive_scores()
        pushed = (moved[forget] / self.temperature).logsumexp(0)
        return torch.where(forget, 0.0, moved - pushed)[pairs.own_rows]
