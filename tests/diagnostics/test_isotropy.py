"""IsoScore against the paper's steps, the corrected estimate against its truth, and the partition ratio against a plain sum."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dipole.core.errors import DataError
from dipole.diagnostics import isotropy, partition_isotropy


def drawn(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def as_in_the_paper(x: np.ndarray) -> float:
    """Rotate to the principal axes, variances to the length sqrt(d), distance to ones, rescale twice."""
    d = x.shape[1]
    _, axes = np.linalg.eigh(np.cov(x.T))
    v = np.diag(np.cov((x @ axes).T))
    v = math.sqrt(d) * v / np.linalg.norm(v)
    defect = np.linalg.norm(v - 1) / math.sqrt(2 * (d - math.sqrt(d)))
    phi = (d - defect**2 * (d - math.sqrt(d))) ** 2 / d**2
    return float((d * phi - 1) / (d - 1))


def test_isoscore_is_the_papers() -> None:
    for scale in (torch.ones(5), torch.tensor([5.0, 1, 1, 0.5, 0.1])):
        x = drawn(40, 5) * scale
        assert isotropy(x, corrected=False) == pytest.approx(as_in_the_paper(x.numpy()), rel=1e-9)


def test_isoscore_of_known_clouds() -> None:
    assert isotropy(drawn(20_000, 8)) == pytest.approx(1, abs=2e-3)
    line = drawn(500, 1) @ drawn(1, 6, 1)
    assert isotropy(line, corrected=False) == pytest.approx(0, abs=1e-9)
    half = torch.cat([drawn(20_000, 4), torch.zeros(20_000, 4, dtype=torch.float64)], 1)
    assert isotropy(half) == pytest.approx(3 / 7, abs=5e-3)  # (k - 1) / (d - 1)


def test_isoscore_does_not_see_place_turn_and_scale() -> None:
    x = drawn(60, 5) * torch.tensor([3.0, 1, 1, 1, 0.2])
    turn = torch.linalg.qr(drawn(5, 5, 3)).Q
    for corrected in (False, True):
        assert isotropy(7 * x @ turn + 3, corrected) == pytest.approx(isotropy(x, corrected), rel=1e-9)


def test_the_correction_where_there_are_fewer_vectors_than_dimensions() -> None:
    """60 isotropic vectors in 200 dimensions: the plug-in says a quarter, the corrected mean over draws says 1."""
    plain = [isotropy(drawn(60, 200, s), corrected=False) for s in range(20)]
    corrected = torch.tensor([isotropy(drawn(60, 200, s)) for s in range(60)])
    assert max(plain) < 0.3
    assert float(corrected.mean()) == pytest.approx(1, abs=4 * float(corrected.std()) / math.sqrt(60))
    assert float(corrected.std()) < 0.2
    assert isotropy(drawn(5000, 20)) == pytest.approx(isotropy(drawn(5000, 20), corrected=False), abs=6e-3)


def test_partition_ratio_against_a_plain_sum() -> None:
    x = drawn(30, 4) + 0.5
    _, axes = np.linalg.eigh((x.T @ x).numpy())
    sums = [np.exp(sign * (x.numpy() @ c)).sum() for c in axes.T for sign in (1, -1)]
    assert partition_isotropy(x) == pytest.approx(min(sums) / max(sums), rel=1e-9)
    few = drawn(3, 6)
    everywhere = np.linalg.svd(few.numpy())[2]  # a full basis: unused directions have Z = N
    sums = [np.exp(sign * (few.numpy() @ c)).sum() for c in everywhere for sign in (1, -1)]
    assert partition_isotropy(few) == pytest.approx(min(sums) / max(sums), rel=1e-6)


def test_partition_ratio_falls_with_an_offset_and_survives_long_vectors() -> None:
    x = drawn(4000, 6) / 3
    ratios = [partition_isotropy(x + offset) for offset in (0.0, 0.5, 1.0)]
    assert ratios[0] > 0.9 > ratios[1] > ratios[2] > 0
    assert 0 <= partition_isotropy(1e4 * x) < 1e-6  # no overflow


def test_degenerate_vectors_are_named() -> None:
    with pytest.raises(DataError, match="all vectors are the same"):
        isotropy(torch.ones(6, 3))
    with pytest.raises(DataError, match="at least 4 vectors"):
        isotropy(drawn(3, 3))
    with pytest.raises(DataError, match="two numbers"):
        isotropy(drawn(6, 1))
    with pytest.raises(DataError, match="NaN"):
        partition_isotropy(torch.full((4, 2), float("nan")))
