"""Where vectors lie on the sphere: alignment, uniformity, tolerance, anisotropy.

All four normalise their vectors, so they do not change under rotation or rescaling. NaN, infinity and vectors of length 0 raise
DataError with the row.
"""

from __future__ import annotations

import math

import torch

from dipole.core.errors import DataError, ParameterError
from dipole.core.pairs import Pairs
from dipole.core.relations import Match
from dipole.diagnostics.estimate import Estimate, drawn, mean_of
from dipole.diagnostics.vectors import BLOCK, classes, sides, unit
from dipole.pairwise import LogMeanExp, Tile, reduce


@torch.no_grad()
def alignment(x: torch.Tensor, y: torch.Tensor, power: float = 2.0) -> float:
    """How far the two halves of a positive pair lie apart.

        A = mean_i |x_i - y_i|^a        on unit vectors

    Range: 0 (each pair in one point) to 2^a; with a = 2 it is 2 - 2 mean cosine of the pairs, and 2 for pairs that have nothing in
      common.
    Healthy: well below what two vectors of different pairs have; read it with uniformity, since collapse makes it 0.
    Source: Wang & Isola 2020, arXiv:2005.10242, eq. 2.
    Cost: O(N d).
    Shapes: x, y (N, d), row i of one belongs to row i of the other.
    Errors: DataError.

    >>> alignment(torch.eye(2), torch.eye(2)), alignment(torch.eye(2), torch.eye(2).flip(0))
    (0.0, 2.0)
    """
    if not power > 0:
        raise ParameterError("alignment", "power", "a number above 0", power)
    x, y = sides("alignment", x, y, 1)
    squared = torch.cat([(a - b).square().sum(1) for a, b in zip(x.split(BLOCK), y.split(BLOCK), strict=True)])
    return float((squared if power == 2 else squared.pow(power / 2)).mean(dtype=torch.float64))


@torch.no_grad()
def uniformity(x: torch.Tensor, t: float = 2.0, rows: int | None = None, seed: int = 0) -> Estimate:
    """How evenly vectors fill the sphere.

        U = log mean_{i != j} exp(-t |x_i - x_j|^2)        on unit vectors

    Range: 0 (all in one point) down to about -2t, its value for vectors orthogonal to each other and nearly that of the uniform
      distribution in many dimensions; lower only for few points (two antipodes: -4t).
    Healthy: nearer to -2t than to 0.
    Source: Wang & Isola 2020, arXiv:2005.10242, eq. 3, over the N (N - 1) / 2 pairs of different items. The log of a mean is biased
      for small N: compare at equal N.
    Cost: O(N^2 d), memory O(N d); ``rows=n`` takes n rows against all, O(n N d), and sets ``error``.
    Shapes: x (N, d).
    Errors: DataError, also for fewer than two vectors.

    >>> round(uniformity(torch.eye(3)), 6), abs(round(uniformity(torch.ones(3, 2)), 5))
    (-4.0, 0.0)
    """
    if not t > 0:
        raise ParameterError("uniformity", "t", "a number above 0", t)
    x = unit("uniformity", x)

    def potential(tile: Tile) -> torch.Tensor:
        return 2 * t * (tile.scores - 1)

    pairs = against_others(x, drawn("uniformity", len(x), rows, seed))
    level = reduce(potential, pairs, of_row=LogMeanExp("rows")).of_row.double()
    highest = level.max()  # rows are averaged in float64: a million of them
    mean = mean_of((level - highest).exp(), len(x))
    return Estimate(float(highest) + math.log(mean), mean.error / mean, mean.rows)


@torch.no_grad()
def tolerance(x: torch.Tensor, labels: torch.Tensor) -> float:
    """How similar items of one class stay.

        T = mean of x_i . x_j over i != j of one class        on unit vectors

    Range: -1 to 1.
    Healthy: as high as uniformity allows: a small temperature buys uniformity with tolerance.
    Source: Wang & Liu 2021, arXiv:2012.09740, on the uniformity-tolerance dilemma; the mean is over pairs of one class, as in the
      paper's text and figures, not over all pairs with an indicator, which would fall with the number of classes. Classes of one
      item have no pair.
    Cost: O(N d).
    Shapes: x (N, d), labels (N,) int64.
    Errors: DataError, also where no class has two items.

    >>> tolerance(torch.tensor([[1.0, 0], [1, 0], [0, 1]]), torch.tensor([0, 0, 1]))
    1.0
    """
    x = unit("tolerance", x)
    of = classes("tolerance", labels, len(x))
    sums = torch.zeros(int(of.max()) + 1, x.shape[1], dtype=torch.float64, device=x.device)
    for block, own in zip(x.split(BLOCK), of.split(BLOCK), strict=True):
        sums.index_add_(0, own, block.double())
    sizes = torch.bincount(of).double()
    pairs = float((sizes * (sizes - 1)).sum())
    if not pairs:
        raise DataError("tolerance: no class has two items, so no pair shares one", value=f"{len(sizes)} classes, {len(x)} vectors")
    itself = sum(float(block.double().square().sum()) for block in x.split(BLOCK))
    return (float(sums.square().sum()) - itself) / pairs


@torch.no_grad()
def anisotropy(x: torch.Tensor) -> float:
    """How much all vectors point the same way.

        mean of x_i . x_j over i != j        on unit vectors

    Range: -1 / (N - 1) to 1 (collapse).
    Healthy: near 0; above about 0.5 cosines lose their meaning, and a threshold learned elsewhere does not carry over.
    Source: Ethayarajh 2019, arXiv:1909.00512, section 4.1 (there over sampled pairs); 1 minus it is the isotropy of Su & Collier
      2022, arXiv:2210.14140, eq. 3.
    Cost: O(N d), exact.
    Shapes: x (N, d).
    Errors: DataError.

    >>> anisotropy(torch.eye(3)), round(anisotropy(torch.ones(3, 2)), 6)
    (0.0, 1.0)
    """
    return mean_cosine(unit("anisotropy", x))


def mean_cosine(x: torch.Tensor) -> float:
    """Of all pairs of different rows of unit vectors (N, d), N at least 2, unchecked."""
    n = len(x)
    total = float(x.sum(0, dtype=torch.float64).square().sum())
    itself = sum(float(block.square().sum(dtype=torch.float64)) for block in x.split(BLOCK))
    return (total - itself) / (n * (n - 1))


def against_others(x: torch.Tensor, chosen: torch.Tensor | None = None) -> Pairs:
    """The chosen rows (None: all) against every other vector, nothing against itself, nobody positive."""
    if chosen is None:
        return Pairs.aligned(x, x).among("queries")
    chosen = chosen.to(x.device)
    nobody = Match(torch.full_like(chosen, -1), torch.full((len(x),), -1, device=x.device))
    itself = Match(chosen, torch.arange(len(x), device=x.device))
    return Pairs(x[chosen], x, nobody, excluded=(itself,))
