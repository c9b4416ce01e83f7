"""Ranks against numpy's singular value decomposition and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dipole.core.errors import DataError, ParameterError
from dipole.diagnostics import effective_rank, energy_rank, isotropic_rank, isotropic_spectrum, rank_peak, singular_values, stable_rank
from tests.held import Held


def drawn(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("n", "d"), [(30, 7), (7, 30), (12, 12)])
@pytest.mark.parametrize("centred", [False, True])
def test_against_an_svd(n: int, d: int, centred: bool) -> None:
    x = drawn(n, d) + 1
    values = np.linalg.svd(x.numpy() - (x.numpy().mean(0) if centred else 0), compute_uv=False)
    assert np.allclose(singular_values(x, centred).numpy(), values, atol=1e-7)
    share = values[values > 1e-9] / values.sum()
    assert effective_rank(x, centred) == pytest.approx(math.exp(-(share * np.log(share)).sum()), rel=1e-5)
    assert stable_rank(x, centred) == pytest.approx((values**2).sum() / values[0] ** 2, rel=1e-9)


def test_closed_forms() -> None:
    assert effective_rank(torch.eye(6)) == pytest.approx(6)
    assert effective_rank(torch.ones(5, 8)) == pytest.approx(1, abs=1e-5)
    two = torch.tensor([[3.0, 0.0], [0.0, 1.0]])  # shares 3/4 and 1/4
    assert effective_rank(two) == pytest.approx(math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25))))
    assert stable_rank(two) == pytest.approx(10 / 9)
    assert stable_rank(torch.eye(6)) == pytest.approx(6)


def test_what_must_not_change_the_rank() -> None:
    x = drawn(20, 6)
    turn = torch.linalg.qr(drawn(6, 6, 2)).Q
    assert effective_rank(5 * x @ turn) == pytest.approx(effective_rank(x), rel=1e-9)
    assert effective_rank(x.repeat(2, 1)) == pytest.approx(effective_rank(x), rel=1e-9)
    assert effective_rank(x + 100, centred=True) == pytest.approx(effective_rank(x, centred=True), rel=1e-6)
    assert effective_rank(x + 100) < 1.5 < effective_rank(x)


def test_many_vectors_in_blocks() -> None:
    """400,000 x 64 in float32: 98 MiB; a float64 copy would take 195 MiB."""
    x = torch.randn(400_000, 64)
    with Held() as held:
        assert effective_rank(x) == pytest.approx(64, rel=1e-3)
    assert held.peak < (98 + 80) * 2**20  # the vectors themselves are met, and counted


def test_degenerate_vectors_are_named() -> None:
    for measure in (effective_rank, stable_rank):
        with pytest.raises(DataError, match="every vector is 0"):
            measure(torch.zeros(4, 3))
        with pytest.raises(DataError, match="all vectors are the same"):
            measure(torch.ones(4, 3), centred=True)
        with pytest.raises(DataError, match="first row 2"):
            measure(torch.tensor([[1.0], [2.0], [float("inf")]]))
        with pytest.raises(DataError, match="at least 2 vectors"):
            measure(torch.ones(1, 3))


def test_energy_rank_and_the_peak_of_a_run() -> None:
    x = torch.diag(torch.tensor([3.0, 2.0, 1.0]))  # energies 9, 4, 1 of 14
    assert [energy_rank(x, share) for share in (0.5, 9 / 14, 0.7, 0.93, 1.0)] == [1, 1, 2, 3, 3]
    assert energy_rank(torch.eye(10), 0.9) == 9
    noisy = [10 - abs(i - 30) / 4 + (1 if i == 5 else 0) * 4.9 for i in range(60)]
    assert rank_peak(noisy) == 30
    with pytest.raises(ParameterError, match="share"):
        energy_rank(x, 0)
    with pytest.raises(ParameterError, match="at least one value"):
        rank_peak([])


@pytest.mark.parametrize(("n", "d"), [(60, 240), (240, 60), (150, 150), (40, 2000)])
def test_the_rank_of_isotropic_vectors_is_that_of_drawn_ones(n: int, d: int) -> None:
    found = [effective_rank(drawn(n, d, s)) for s in range(3)]
    assert isotropic_rank(n, d) == pytest.approx(sum(found) / 3, rel=0.01)
    values = torch.linalg.svdvals(drawn(n, d))
    expected = isotropic_spectrum(n, d)
    assert float((values / values.norm() - expected / expected.norm()).abs().max()) < 0.03 * float(expected[0] / expected.norm())
    unit = torch.nn.functional.normalize(drawn(n, d), dim=1)
    assert effective_rank(unit) == pytest.approx(isotropic_rank(n, d), rel=0.01)


def test_the_rank_of_few_isotropic_vectors() -> None:
    assert isotropic_rank(1, 300) == 1
    with pytest.raises(ParameterError, match="n and d"):
        isotropic_rank(0, 3)
