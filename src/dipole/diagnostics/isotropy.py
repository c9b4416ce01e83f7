"""Whether all directions are used alike: IsoScore and the partition function's ratio."""

from __future__ import annotations

import math

import torch

from dipole.core.errors import DataError
from dipole.diagnostics.moments import centred, cross_energy, unbiased_energy
from dipole.diagnostics.vectors import BLOCK, matrix


@torch.no_grad()
def isotropy(x: torch.Tensor, corrected: bool = True) -> float:
    """How evenly the variance is spread over the directions: IsoScore.

        (P - 1) / (d - 1),   P = (tr Sigma)^2 / tr(Sigma^2)        Sigma: covariance of the vectors

    which is what the paper's steps (rotate to principal axes, normalise the variances, distance to all ones, rescale) come to.
    Range: 0 (one direction) to 1 (all alike); (k - 1) / (d - 1) for k equal directions.
    Healthy: no absolute threshold: trained encoders use a part of their dimensions. The mean does not matter: see ``anisotropy``
      for that.
    Source: Rudman et al. 2022, arXiv:2108.07344, algorithm 1. ``corrected`` estimates tr(Sigma^2) without bias (Song et al. 2012);
      the plug-in cannot exceed (N - 1) / d where N < d, however isotropic the vectors are. The corrected value is an estimate and
      may leave [0, 1] a little for small N; both agree for N much larger than d.
    Cost: O(N d min(N, d)).
    Shapes: x (N, d), d at least 2, N at least 4.
    Errors: DataError, also where all vectors are the same.

    >>> cross = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    >>> isotropy(cross, corrected=False), isotropy(cross * torch.tensor([1.0, 0]) , corrected=False)
    (1.0, 0.0)
    """
    x = matrix("isotropy", x, 4)
    if x.shape[1] < 2:
        raise DataError("isotropy: needs vectors of at least two numbers", value=tuple(x.shape))
    x = centred(x)
    n = len(x)
    trace = float(x.square().sum(dtype=torch.float64)) / (n - 1)
    if not trace > 0:
        raise DataError("isotropy: all vectors are the same, so they spread in no direction")
    energy = unbiased_energy(x, x) if corrected else cross_energy(x, x) / (n - 1) ** 2
    if not energy > 0:
        raise DataError(
            "isotropy: too few vectors for a corrected estimate", value=tuple(x.shape), remedy="give more vectors, or corrected=False"
        )
    return (trace**2 / energy - 1) / (x.shape[1] - 1)


@torch.no_grad()
def partition_isotropy(x: torch.Tensor) -> float:
    """How much the partition function changes with the direction of a query.

        min_c Z(c) / max_c Z(c),   Z(c) = sum_i exp(c . x_i)        c: eigenvectors of X^T X, both signs

    Range: 0 to 1 (every direction alike). It depends on the vectors' length: the shorter, the nearer to 1, so unit vectors of many
      dimensions score high; compare at equal length. A common offset lowers it.
    Source: Mu & Viswanath 2018, arXiv:1702.01417, eq. 5, after Arora et al. 2016, arXiv:1502.03520 (Z is nearly constant for word
      vectors). An eigenvector's sign is arbitrary, so both count. Where N < d, directions no vector uses have Z = N and count too.
    Cost: O(N d min(N, d)) twice.
    Shapes: x (N, d).
    Errors: DataError.

    >>> partition_isotropy(torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])), round(partition_isotropy(torch.ones(4, 1)), 4)
    (1.0, 0.1353)
    """
    x = matrix("partition_isotropy", x)
    directions = _axes(x)
    upper, lower = [], []
    for start in range(0, len(x), BLOCK):
        scores = x[start : start + BLOCK].double() @ directions
        upper.append(scores.logsumexp(0))
        lower.append((-scores).logsumexp(0))
    levels = torch.cat([torch.stack(upper).logsumexp(0), torch.stack(lower).logsumexp(0)])
    if directions.shape[1] < x.shape[1]:
        levels = torch.cat([levels, levels.new_tensor([math.log(len(x))])])
    return float((levels.min() - levels.max()).exp())


def _axes(x: torch.Tensor) -> torch.Tensor:
    """(d, r) float64: eigenvectors of X^T X, those of eigenvalue 0 left out where N < d."""
    if len(x) >= x.shape[1]:
        gram = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64, device=x.device)
        for start in range(0, len(x), BLOCK):
            rows = x[start : start + BLOCK].double()
            gram.addmm_(rows.T, rows)
        vectors: torch.Tensor = torch.linalg.eigh(gram).eigenvectors
        return vectors
    rows = x.double()
    values, vectors = torch.linalg.eigh(rows @ rows.T)
    used = values > values[-1] * 1e-12
    axes: torch.Tensor = rows.T @ vectors[:, used] / values[used].sqrt()
    return axes
