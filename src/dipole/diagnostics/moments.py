"""Sums over two centred sets of vectors, without an N x N matrix where N is the larger side."""

from __future__ import annotations

import torch

from dipole.diagnostics.vectors import BLOCK


def cross_energy(x: torch.Tensor, y: torch.Tensor) -> float:
    """|X^T Y|_F^2 of (N, d) and (N, e), whichever of X^T Y (d e numbers) and X X^T . Y Y^T (N^2) is cheaper; float64."""
    n, d, e = len(x), x.shape[1], y.shape[1]
    if n * (d + e) < d * e:
        x, y = x.double(), y.double()
        return float(((x @ x.T) * (y @ y.T)).sum())
    cross = torch.zeros(d, e, dtype=torch.float64, device=x.device)
    for start in range(0, n, BLOCK):
        cross.addmm_(x[start : start + BLOCK].double().T, y[start : start + BLOCK].double())
    return float(cross.square().sum())


def centred(x: torch.Tensor) -> torch.Tensor:
    """X minus its mean, which is taken in float64; the type stays."""
    return x - x.mean(0, dtype=torch.float64).to(x.dtype)


def unbiased_energy(x: torch.Tensor, y: torch.Tensor) -> float:
    """An unbiased estimate of |Cov(x, y)|_F^2 from N >= 4 centred rows; of tr(Sigma^2) where y is x.

        ( |X^T Y|_F^2 - N / (N - 2) sum_i a_i b_i + sum a sum b / ((N - 1) (N - 2)) ) / (N (N - 3)),    a_i = |x_i|^2, b_i = |y_i|^2

    The plug-in |X^T Y|_F^2 / (N - 1)^2 is too large by about tr(Sigma_x) tr(Sigma_y) / N, which dominates where N < d. Source: Song et
    al. 2012 (JMLR 13), the unbiased estimator of HSIC, theorem 2, for the linear kernel. It may be negative where nothing is shared.
    """
    n = len(x)
    a, b = (z.square().sum(1, dtype=torch.float64) for z in (x, y))
    found = cross_energy(x, y) - n / (n - 2) * float(a @ b) + float(a.sum() * b.sum()) / ((n - 1) * (n - 2))
    return found / (n * (n - 3))
