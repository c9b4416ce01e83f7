"""How many directions vectors use: singular spectrum, effective rank, stable rank."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from dipole.core.errors import DataError, ParameterError
from dipole.diagnostics.vectors import BLOCK, matrix


@torch.no_grad()
def singular_values(x: torch.Tensor, centred: bool = False) -> torch.Tensor:
    """(min(N, d),) float64, largest first: the square roots of the eigenvalues of the smaller of X^T X and X X^T.

    ``centred``: of X minus its mean. Relative to the largest, values below 1e-8 are rounding.
    Cost: O(N d min(N, d)), one pass, memory O(min(N, d)^2).
    Shapes: x (N, d).
    Errors: DataError.

    >>> singular_values(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
    tensor([4., 3.], dtype=torch.float64)
    """
    return spectrum_of(matrix("singular_values", x), centred)


@torch.no_grad()
def effective_rank(x: torch.Tensor, centred: bool = False) -> float:
    """How many directions the vectors use, weighed by how much.

        exp( - sum_k p_k log p_k ),   p_k = s_k / sum_l s_l        s: singular values of X, not centred unless asked

    Range: 1 (all on one line) to min(N, d).
    Healthy: a good part of what evenly spread vectors of that N and d have; early in training higher is better, late it may fall
      while quality rises.
    Source: Roy & Vetterli 2007 (EUSIPCO), definition 1; RankMe: Garrido et al. 2022, arXiv:2210.02885, eq. 1 (there with 1e-7 added
      to each p_k, which matters only for tiny values). Fewer vectors than dimensions cap it at N: compare at equal N.
    Cost: as :func:`singular_values`.
    Shapes: x (N, d).
    Errors: DataError, also where every vector is 0 (or, centred, the same).

    >>> round(effective_rank(torch.eye(4)), 6), round(effective_rank(torch.ones(4, 3)), 6)
    (4.0, 1.0)
    """
    return entropy_rank(_not_flat("effective_rank", spectrum_of(matrix("effective_rank", x), centred), centred))


@torch.no_grad()
def stable_rank(x: torch.Tensor, centred: bool = False) -> float:
    """How much all directions weigh beside the strongest.

        sum_k s_k^2 / s_1^2

    Range: 1 to min(N, d); never above the rank, and little moved by tiny singular values.
    Healthy: above a few; near 1 one direction (often the mean) dominates.
    Source: Rudelson & Vershynin 2007, J. ACM 54(4), section 1. Cost and errors: as :func:`effective_rank`.

    >>> round(stable_rank(torch.tensor([[2.0, 0.0], [0.0, 1.0]])), 6)
    1.25
    """
    values = _not_flat("stable_rank", spectrum_of(matrix("stable_rank", x), centred), centred)
    return float((values / values[0]).square().sum())


@torch.no_grad()
def energy_rank(x: torch.Tensor, share: float = 0.9, centred: bool = False) -> int:
    """How many of the strongest directions hold a share of the energy.

        min r with  sum_{k <= r} s_k^2 >= share sum_k s_k^2

    Range: 1 to min(N, d), in whole steps.
    Source: the usual choice of components in PCA; used on sentence embeddings by Jung et al. 2024, arXiv:2405.11297, whose share
      could not be confirmed. Cost and errors: as :func:`effective_rank`; ParameterError for ``share``.

    >>> energy_rank(torch.tensor([[3.0, 0.0], [0.0, 1.0]])), energy_rank(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), share=0.95)
    (1, 2)
    """
    if not 0 < share <= 1:
        raise ParameterError("energy_rank", "share", "a number above 0, up to 1", share)
    energy = _not_flat("energy_rank", spectrum_of(matrix("energy_rank", x), centred), centred).square().cumsum(0)
    return int((energy < share * energy[-1] * (1 - 1e-12)).sum()) + 1


def isotropic_spectrum(n: int, d: int) -> torch.Tensor:
    """The singular values that N vectors of no preferred direction in d dimensions have, up to scale, largest first.

        s_k^2 = the (k - 1/2) / min(N, d) quantile of the eigenvalues of a random covariance

    Range: (min(N, d),) float64, from 1 + sqrt(c) down to 1 - sqrt(c) at most, c = min(N, d) / max(N, d).
    Source: Marchenko & Pastur 1967, the eigenvalues' distribution for N and d large.
    Shapes: whole numbers of at least 1.
    Errors: ParameterError.
    """
    if n < 1 or d < 1:
        raise ParameterError("isotropic_spectrum", "n and d", "whole numbers of at least 1", (n, d))
    least, most = min(n, d), max(n, d)
    c = least / most
    angle = (torch.arange(8192, dtype=torch.float64) + 0.5) * (math.pi / 8192)
    energy = 1 + c + 2 * math.sqrt(c) * angle.cos()  # falling
    reached = (angle.sin().square() / energy).cumsum(0)
    wanted = (torch.arange(least, dtype=torch.float64) + 0.5) / least * reached[-1]
    return energy[torch.searchsorted(reached, wanted).clamp(max=len(energy) - 1)].sqrt()


def isotropic_rank(n: int, d: int) -> float:
    """The effective rank that N vectors of no preferred direction in d dimensions have: what to hold :func:`effective_rank` against.

        exp of the entropy of :func:`isotropic_spectrum`, as shares

    Range: above 0.8 min(N, d), and nearly all of it where N and d are far apart. Few vectors in many dimensions, or the reverse, cannot
      fill them: an effective rank is low only beside this.
    Source: as :func:`isotropic_spectrum`, put into the definition of effective rank.
    Shapes: whole numbers of at least 1.
    Errors: ParameterError.

    >>> round(isotropic_rank(1000, 10), 1), isotropic_rank(1, 300)
    (10.0, 1.0)
    """
    return entropy_rank(isotropic_spectrum(n, d))


def rank_peak(ranks: Sequence[float], window: int = 5) -> int:
    """Where a rank that was logged over training is highest, after a running mean of ``window`` values: the place in ``ranks``.

    Before it a rising rank goes with rising quality, after it with falling quality, so that "the higher the better" holds only
    before.
    Source: Jung et al. 2024, arXiv:2405.11297 (phases of training). The running mean uses the values there are at both ends.

    >>> rank_peak([1, 2, 4, 7, 8, 8, 6, 5, 4], window=3)
    4
    """
    if not ranks or window < 1:
        raise ParameterError("rank_peak", "ranks and window", "at least one value and a window of at least 1", (len(ranks), window))
    half = window // 2
    parts = [ranks[max(0, i - half) : i + half + 1] for i in range(len(ranks))]
    smooth = [sum(part) / len(part) for part in parts]
    return smooth.index(max(smooth))


def spectrum_of(x: torch.Tensor, centred: bool = False) -> torch.Tensor:
    """:func:`singular_values`, unchecked."""
    mean = x.mean(0, dtype=torch.float64) if centred else None
    if len(x) <= x.shape[1]:
        rows = x.double() if mean is None else x.double() - mean
        gram = rows @ rows.T
    else:
        gram = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64, device=x.device)
        for start in range(0, len(x), BLOCK):
            rows = x[start : start + BLOCK].double()
            rows = rows if mean is None else rows - mean
            gram.addmm_(rows.T, rows)
    values: torch.Tensor = torch.linalg.eigvalsh(gram)
    return values.flip(0).clamp(min=0).sqrt()


def entropy_rank(values: torch.Tensor) -> float:
    """exp of the entropy of (K,) weights, not all 0."""
    share = values.double() / values.double().sum()
    return float(torch.special.entr(share).sum().exp())


def _not_flat(name: str, values: torch.Tensor, centred: bool) -> torch.Tensor:
    """Refuse a spectrum of zeros."""
    if not bool(values[0] > 0):
        raise DataError(f"{name}: {'all vectors are the same' if centred else 'every vector is 0'}, so they span no direction")
    return values
