"""Do pairs of one relation differ by one direction? Parallel offsets, the geometry behind word analogies."""

from __future__ import annotations

import torch

from dipole.core.errors import DataError, ParameterError
from dipole.diagnostics.vectors import matrix, same_dimension, same_number


@torch.no_grad()
def offset_parallelism(starts: torch.Tensor, ends: torch.Tensor) -> float:
    """How parallel the lines from starts to ends are (mean similarity of offsets, MSM).

        mean over i < j of cos(e_i - s_i, e_j - s_j)

    Range: -1 / (N - 1) to 1; about 0 for pairs that share no relation.
    Healthy: well above what shuffled ends give: compare, since offsets of one cloud to another are never quite random.
    Source: Ri et al. 2023, arXiv:2306.08221, section 5 (MSM).
    Cost: O(N d).
    Shapes: starts (N, d), ends (N, d), pair i in row i of both.
    Errors: DataError, also for a pair whose ends coincide.

    >>> offset_parallelism(torch.zeros(3, 2), torch.tensor([[1.0, 0], [2, 0], [5, 0]]))
    1.0
    """
    unit = _offsets("offset_parallelism", starts, ends)
    n = len(unit)
    return float((unit.sum(0).square().sum() - n) / (n * (n - 1)))


@torch.no_grad()
def pairing_consistency(starts: torch.Tensor, ends: torch.Tensor, shuffles: int = 50, seed: int = 0) -> float:
    """How well offsets tell true pairs from shuffled ones (pairing consistency score, PCS).

        P[ cos of two true offsets > cos of two offsets of shuffled pairs ], ties counting half; the mean over shuffles

    Range: 0 to 1; 0.5 where the pairing cannot be told from chance.
    Healthy: near 1 for a relation the vectors encode.
    Source: Ri et al. 2023, arXiv:2306.08221, section 5 (PCS, after Fournier et al. 2020), an area under a ROC curve.
    Cost: O(shuffles N^2 log N).
    Shapes: starts (N, d), ends (N, d), pair i in row i of both.
    Errors: DataError, also for coinciding ends; ParameterError.

    >>> starts = torch.arange(12.0).reshape(6, 2).sin()
    >>> pairing_consistency(starts, starts + torch.tensor([0.0, 3.0])) > 0.9
    True
    """
    if not (isinstance(shuffles, int) and shuffles >= 1):
        raise ParameterError("pairing_consistency", "shuffles", "a whole number of at least 1", shuffles)
    true = _upper(_offsets("pairing_consistency", starts, ends))
    chance, found = torch.Generator().manual_seed(seed), []
    for _ in range(shuffles):
        order = torch.randperm(len(ends), generator=chance).to(ends.device)
        other = _upper(_offsets("pairing_consistency", starts, ends[order])).sort().values
        below = torch.searchsorted(other, true) + torch.searchsorted(other, true, right=True)
        found.append(below.double().mean() / (2 * len(other)))
    return float(torch.stack(found).mean())


def _offsets(name: str, starts: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
    """(N, d) float64, length 1."""
    starts, ends = matrix(name, starts).double(), matrix(name, ends).double()
    same_number(name, starts, ends)
    same_dimension(name, starts, ends)
    offsets = ends - starts
    length = offsets.norm(dim=1, keepdim=True)
    if bool((length == 0).any()):
        row = int((length == 0).nonzero()[0, 0])
        raise DataError(f"{name}: start and end of a pair coincide, so there is no direction, first row {row}", remedy="leave it out")
    unit: torch.Tensor = offsets / length
    return unit


def _upper(unit: torch.Tensor) -> torch.Tensor:
    above = torch.ones(len(unit), len(unit), dtype=torch.bool, device=unit.device).triu(1)
    return torch.masked_select(unit @ unit.T, above)
