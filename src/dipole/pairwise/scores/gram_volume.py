"""Gram volume: how little space a query and all modalities of an item span together.

    s(q, k) = -sqrt(det G(q, k_1, ..., k_V) + e) / t,   G the cosines of the V + 1 vectors,   det G = det G_k - c^T adj(G_k) c

c are the query's cosines with the item's vectors and G_k the item's own cosines, so a tile costs V matrix products and a little per
entry. Volumes lie between 0 (dependent vectors) and 1 (orthogonal ones). Source: arXiv:2412.11959, with V = 1 to 4;
t is learned as log(1 / t) from its start, as there. e keeps the slope finite at volume 0.

Beware: the volume does not change when a vector changes its sign, and is 0 for any linearly dependent set: three vectors in a plane,
no two of them close, score as high as three equal ones, and an item with two equal modalities scores highest with every query.

>>> item = torch.eye(3)[None, :2]  # one item of two modalities, and a query orthogonal to both
>>> factors = GramVolume(initial_temperature=1.0).factors(torch.eye(3)[2:], item)
>>> GramVolume().tile(tuple(a @ b.T for a, b in factors.products), factors.rows, factors.cols).tolist()
[[-1.0]]
"""

from __future__ import annotations

import math

import torch
from torch import nn

from dipole.core.errors import DataError, ParameterError
from dipole.core.part import part, positive
from dipole.core.scores import Factors
from dipole.core.vectors import Vectors, one_tensor, wide
from dipole.pairwise.scores.cosine import unit
from dipole.pairwise.scores.scaled_cosine import bounded_temperature

__all__ = ["GramVolume"]


@part
class GramVolume(nn.Module):
    """Minus the volume of a query (N, d) with the V vectors of an item (M, V, d), over a learned temperature."""

    initial_temperature: float = positive(0.07, "where the learned temperature starts")
    min_temperature: float = positive(0.01, "the learned temperature never goes below")
    floor: float = positive(1e-8, "e, added to the squared volume")

    def __post_init__(self) -> None:
        if self.initial_temperature < self.min_temperature:
            raise ParameterError(
                "gram_volume", "initial_temperature", f"at least min_temperature, {self.min_temperature}", self.initial_temperature
            )
        self.log_scale = nn.Parameter(torch.tensor(-math.log(self.initial_temperature)))

    @property
    def temperature(self) -> torch.Tensor:
        """The temperature now, a scalar that carries its gradient."""
        return bounded_temperature(self.log_scale, self.min_temperature)

    def factors(self, queries: Vectors, keys: Vectors) -> Factors:
        if not isinstance(keys, torch.Tensor) or keys.dim() != 3 or not 1 <= keys.shape[1] <= 4:
            got = tuple(keys.shape) if isinstance(keys, torch.Tensor) else f"{len(keys)} tensors"
            raise DataError(f"score gram_volume: keys must be (M, V, d), 1 to 4 modalities stacked, got {got}; use views = modalities")
        left, right = unit(one_tensor(queries, "gram_volume")), unit(keys)
        gram = wide(right) @ wide(right).transpose(1, 2)
        scale = (1 / self.temperature).expand(len(left))
        products = tuple((left, right[:, view]) for view in range(right.shape[1]))
        return Factors(products, (scale,), (adjugate(gram), torch.linalg.det(gram)))

    def tile(self, products: tuple[torch.Tensor, ...], rows: tuple[torch.Tensor, ...], cols: tuple[torch.Tensor, ...]) -> torch.Tensor:
        inner, whole = cols
        squared = whole[None, :].expand_as(products[0])
        for a, left in enumerate(products):
            for b, right in enumerate(products):
                squared = squared - left * right * inner[None, :, a, b]
        return -(squared.clamp(min=0.0) + self.floor).sqrt() * rows[0][:, None]


def adjugate(matrices: torch.Tensor) -> torch.Tensor:
    """(..., V, V) with m adj(m) = det(m) I, also where det(m) is 0; by minors, so for the few vectors of an item."""
    size = matrices.shape[-1]
    if size == 1:
        return torch.ones_like(matrices)
    rest = [[i for i in range(size) if i != out] for out in range(size)]
    cells = [[(-1) ** (a + b) * torch.linalg.det(matrices[..., rest[b], :][..., :, rest[a]]) for b in range(size)] for a in range(size)]
    return torch.stack([torch.stack(line, dim=-1) for line in cells], dim=-2)
