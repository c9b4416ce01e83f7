"""ReLU cosine: s(q, k) = cos(relu(q), relu(k)), at least 0.

Non-negative features of a supervised contrastive loss settle in an orthogonal frame, whatever the class sizes. Source: arXiv:2306.07960.
A vector without any positive coordinate has the direction 0 and no gradient.
"""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from dipole.core.part import part
from dipole.core.scores import Factors
from dipole.core.vectors import Vectors, one_tensor

__all__ = ["ReluCosine"]


@part
class ReluCosine:
    """Cosine of the positive parts."""

    def factors(self, queries: Vectors, keys: Vectors) -> Factors:
        left, right = (normalize(one_tensor(side, "relu_cosine").relu(), dim=-1) for side in (queries, keys))
        return Factors(((left, right),))

    def tile(self, products: tuple[torch.Tensor, ...], rows: tuple[torch.Tensor, ...], cols: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return products[0]
