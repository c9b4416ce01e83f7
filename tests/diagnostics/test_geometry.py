"""Alignment, uniformity, tolerance and anisotropy against official values, double loops and closed forms."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from dipole.core.errors import DataError, ParameterError
from dipole.diagnostics import alignment, anisotropy, tolerance, uniformity
from tests.held import Held

GOLDEN = Path(__file__).parents[1] / "golden" / "align-uniform__align_loss-uniform_loss__t2.npz"


def sine(n: int, d: int, s: float) -> torch.Tensor:
    """G(n, d, s): entry (i, j) is sin(i d + j + s)."""
    return torch.sin(torch.arange(n * d, dtype=torch.float64).reshape(n, d) + s)


def drawn(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_official_code() -> None:
    held = np.load(GOLDEN)
    x, y = torch.from_numpy(held["in_x"]), torch.from_numpy(held["in_y"])
    assert alignment(x, y) == pytest.approx(float(held["out_align"]), rel=1e-9)
    assert uniformity(x) == pytest.approx(float(held["out_uniform"]), rel=1e-9)


def test_known_values() -> None:
    """Values computed once from the formulas, in float64, by another program."""
    assert alignment(sine(4, 6, 0), sine(4, 6, 0.5)) == pytest.approx(0.2460925638, abs=1e-9)
    assert uniformity(sine(4, 6, 0)) == pytest.approx(-0.4529683380, abs=1e-9)
    assert uniformity(torch.tensor([[1.0, 0], [-1, 0]])) == pytest.approx(-8)
    assert uniformity(torch.eye(5)[:, :5], t=3) == pytest.approx(-6)
    assert uniformity(torch.ones(7, 3)) == pytest.approx(0, abs=1e-6)
    simplex = torch.eye(4) - 1 / 4
    assert anisotropy(simplex) == pytest.approx(-1 / 3)


def test_against_double_loops() -> None:
    x, y = drawn(9, 4), drawn(9, 4, 1)
    labels = torch.tensor([7, 7, 7, 3, 3, 9, 9, 9, 1])
    u, v = (z / z.norm(dim=1, keepdim=True) for z in (x, y))
    apart, same, every = [], [], []
    for i in range(9):
        for j in range(9):
            if i != j:
                apart.append(math.exp(-2 * float((u[i] - u[j]).square().sum())))
                every.append(float(u[i] @ u[j]))
                if labels[i] == labels[j]:
                    same.append(float(u[i] @ u[j]))
    assert uniformity(x) == pytest.approx(math.log(sum(apart) / len(apart)), rel=1e-12)
    assert tolerance(x, labels) == pytest.approx(sum(same) / len(same), rel=1e-12)
    assert anisotropy(x) == pytest.approx(sum(every) / len(every), rel=1e-12)
    assert alignment(x, y, power=3) == pytest.approx(sum(float((a - b).norm()) ** 3 for a, b in zip(u, v, strict=True)) / 9, rel=1e-12)


def test_rotation_and_scale_change_nothing() -> None:
    x, y = drawn(40, 6), drawn(40, 6, 1)
    turn = torch.linalg.qr(drawn(6, 6, 2)).Q
    scaled = x @ turn * torch.linspace(0.1, 9, 40, dtype=torch.float64)[:, None]
    assert uniformity(scaled) == pytest.approx(uniformity(x), rel=1e-9)
    assert anisotropy(scaled) == pytest.approx(anisotropy(x), rel=1e-9)
    assert alignment(scaled, y @ turn) == pytest.approx(alignment(x, y), rel=1e-9)
    assert uniformity(x.half()) == pytest.approx(uniformity(x), abs=1e-3)


def test_uniformity_of_drawn_rows_is_within_its_error() -> None:
    """Over 200 draws the estimate misses by its standard error on average: unbiased, and the error is honest."""
    x = drawn(600, 8) + torch.tensor([1.0, *[0.0] * 7], dtype=torch.float64)
    exact = uniformity(x)
    assert (exact.error, exact.rows) == (0.0, 600)
    found = [uniformity(x, rows=60, seed=s) for s in range(200)]
    missed = torch.tensor([(f - exact) / f.error for f in found])
    assert abs(float(missed.mean())) < 0.35  # 5 standard errors of a mean of 200
    assert 0.85 < float(missed.std()) < 1.15
    assert found[0].rows == 60 and found[0] == uniformity(x, rows=60, seed=0)


def test_no_matrix_of_all_pairs() -> None:
    """50,000 x 64: the matrix would take 10 GB; 256 rows against all, and everything else, hold under 200 MB."""
    x = torch.randn(50_000, 64)
    labels = torch.arange(50_000) % 100
    with Held() as held:
        uniformity(x, rows=256)
        tolerance(x, labels)
        anisotropy(x)
        alignment(x, x.flip(0))
    assert held.peak < 200 * 2**20


def test_exact_over_all_pairs_holds_no_matrix_either() -> None:
    """12,000 x 32, every pair: the matrix would take 576 MB."""
    x = torch.randn(12_000, 32)
    with Held() as held:
        exact = uniformity(x)
    assert exact.rows == 12_000 and exact.error == 0
    assert held.peak < 60 * 2**20


@pytest.mark.parametrize("measure", [uniformity, anisotropy, lambda x: alignment(x, x), lambda x: tolerance(x, torch.arange(len(x)) % 2)])
def test_bad_vectors_are_named(measure: object) -> None:
    assert callable(measure)
    good = drawn(6, 3)
    for bad, said in (
        (float("nan"), "2 of 6 hold NaN or infinity, first row 1"),
        (0.0, "length 0 .* 2 of 6 are, first row 1"),
    ):
        x = good.clone()
        x[1], x[4] = bad, bad
        with pytest.raises(DataError, match=said):
            measure(x)
    for x in (torch.ones(6), torch.ones(6, 3, dtype=torch.int64), torch.ones(0, 3), torch.ones(6, 0)):
        with pytest.raises(DataError):
            measure(x)


def test_bad_pairs_and_labels_are_named() -> None:
    x = drawn(6, 3)
    with pytest.raises(DataError, match="at least 2 vectors"):
        uniformity(x[:1])
    with pytest.raises(DataError, match="one dimension"):
        alignment(x, drawn(6, 4))
    with pytest.raises(DataError, match="as many"):
        alignment(x, drawn(5, 3))
    with pytest.raises(DataError, match="no class has two items"):
        tolerance(x, torch.arange(6))
    with pytest.raises(DataError, match="one whole number a vector"):
        tolerance(x, torch.ones(6))
    for wrong in (1, 0, 2.5):
        with pytest.raises(ParameterError, match="rows must be"):
            uniformity(x, rows=wrong)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="t must be"):
        uniformity(x, t=0)
