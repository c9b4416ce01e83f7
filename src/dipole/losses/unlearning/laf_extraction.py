"""LAF extraction: kept items stay on the manifold of kept items, forgotten ones leave that of forgotten items.

    l_i = exp(m_i / (m_i + 1))   for i kept,   -exp(m_i / (m_i + 1))   for i forgotten,   m_i = |q_i - k_i|^2      one value per item

Shapes: N items, aligned: q_i the vector of the model being edited, k_i its reconstruction by the autoencoder of the item's set, trained on
the old model's vectors and then frozen; ``rows["forget"]`` (N,) is true for forgotten items. Source: arXiv:2404.00506, the extractor
unlearning loss as the authors' code has it. m / (m + 1) bounds the pull, so that outliers do not rule.
Relation: laf_alignment is the other half of the method. Values are from 1 to e for kept items, from -e to -1 for forgotten ones.
Errors: DegenerateBatchError where a batch holds nothing to keep or nothing to forget; DataError without ``forget``.

>>> import torch
>>> from dataclasses import replace
>>> from dipole import Pairs
>>> pairs = Pairs.aligned(torch.eye(2), torch.eye(2))
>>> LAFExtraction()(replace(pairs, rows={"forget": torch.tensor([False, True])}))
tensor([ 1., -1.])
"""

from __future__ import annotations

from dataclasses import replace

import torch

from dipole.core.pairs import Pairs
from dipole.core.part import part
from dipole.core.requirements import require_both
from dipole.pairwise.scores.neg_squared_distance import NegSquaredDistance

__all__ = ["LAFExtraction"]


@part
class LAFExtraction:
    """Bounded reconstruction error, drawn down for what is kept and up for what is forgotten."""

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        forget = require_both("LAFExtraction", "forget", pairs.rows)[pairs.own_rows]
        missed = -replace(pairs, score=NegSquaredDistance()).positive_scores()
        bounded = (missed / (missed + 1)).exp()
        return torch.where(forget, -bounded, bounded)
