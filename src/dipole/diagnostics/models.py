"""Whether two models see the same items alike: CKA and shared neighbours. Their dimensions may differ."""

from __future__ import annotations

import math

import torch

from dipole.core.errors import DataError, ParameterError
from dipole.diagnostics.estimate import Estimate, drawn, mean_of
from dipole.diagnostics.geometry import against_others
from dipole.diagnostics.moments import centred, cross_energy, unbiased_energy
from dipole.diagnostics.vectors import matrix, same_number, unit
from dipole.pairwise import scores_as_they_are, topk_rows


@torch.no_grad()
def cka(x: torch.Tensor, y: torch.Tensor, debiased: bool = True) -> float:
    """Centred kernel alignment of two sets of vectors of the same items, linear kernel.

        |X^T Y|_F^2 / (|X^T X|_F |Y^T Y|_F)        X, Y centred

    Range: 0 to 1 (the same up to rotation and scale).
    Source: Kornblith et al. 2019, arXiv:1905.00414, section 3. ``debiased`` replaces the three terms by unbiased ones (Song et al.
      2012; used so by Nguyen et al. 2021, arXiv:2010.15327, eq. 3): the plain value tends to 1 for unrelated vectors where N < d;
      the debiased one to 0, and may be slightly negative.
    Cost: O(N d e), or O(N^2 (d + e)) where that is less; memory O(d e).
    Shapes: x (N, d), y (N, e), N at least 4.
    Errors: DataError, also where all vectors of a side are the same.

    >>> x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    >>> round(cka(x, 3 * x.flip(1) + 1), 4)
    1.0
    """
    x, y = matrix("cka", x, 4), matrix("cka", y, 4)
    same_number("cka", x, y)
    x, y = centred(x), centred(y)
    for side in (x, y):
        if not bool(side.any()):
            raise DataError("cka: all vectors of one side are the same, so there is nothing to compare")
    energy = unbiased_energy if debiased else cross_energy
    own = energy(x, x) * energy(y, y)
    if not own > 0:
        raise DataError("cka: too few vectors for a debiased estimate", value=len(x), remedy="give more vectors, or debiased=False")
    return energy(x, y) / math.sqrt(own)


@torch.no_grad()
def mutual_neighbours(x: torch.Tensor, y: torch.Tensor, k: int = 10, rows: int | None = None, seed: int = 0) -> Estimate:
    """Which share of an item's k nearest others two models agree on.

        mean_i |N_x(i) and N_y(i)| / k        N: the k others of highest cosine

    Range: 0 to 1; k / (N - 1) by chance.
    Source: Huh et al. 2024, arXiv:2405.07987, section 3 and appendix. It sees neighbourhoods where CKA sees the large axes.
    Cost: O(N^2 (d + e)), memory O(N k^2); ``rows=n`` takes n items against all and sets ``error``.
    Shapes: x (N, d), y (N, e).
    Errors: DataError.
    """
    x, y = unit("mutual_neighbours", x), unit("mutual_neighbours", y)
    same_number("mutual_neighbours", x, y)
    if not 1 <= k < len(x):
        raise ParameterError("mutual_neighbours", "k", f"a whole number from 1 to {len(x) - 1}", k)
    chosen = drawn("mutual_neighbours", len(x), rows, seed)
    first, second = (topk_rows(scores_as_they_are, against_others(side, chosen), k).ids for side in (x, y))
    shared = (first[:, :, None] == second[:, None, :]).sum((1, 2))
    return mean_of(shared / k, len(x))
