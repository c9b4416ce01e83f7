"""Same class: s(q, k) = sum_c softmax(q)_c softmax(k)_c, the chance that two predictions name one class.

Vectors are logits over C classes. Range 0 to 1. Source: the pairwise objective of ORCA, arXiv:2102.03526.
"""

from __future__ import annotations

import torch

from dipole.core.part import part
from dipole.core.scores import Factors
from dipole.core.vectors import Vectors, one_tensor, wide

__all__ = ["SameClass"]


@part
class SameClass:
    """Inner product of two predictions."""

    def factors(self, queries: Vectors, keys: Vectors) -> Factors:
        left, right = (wide(one_tensor(side, "same_class")).softmax(-1) for side in (queries, keys))
        return Factors(((left, right),))

    def tile(self, products: tuple[torch.Tensor, ...], rows: tuple[torch.Tensor, ...], cols: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return products[0]
