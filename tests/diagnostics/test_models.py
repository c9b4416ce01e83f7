"""CKA against its definition on Gram matrices, its unbiased form against sums over distinct items; shared neighbours against a loop."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from dipole.core.errors import DataError, ParameterError
from dipole.diagnostics import cka, mutual_neighbours
from dipole.diagnostics.moments import centred, unbiased_energy


def drawn(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def plain(x: torch.Tensor, y: torch.Tensor) -> float:
    """tr(K H L H) / sqrt(tr(K H K H) tr(L H L H))."""
    n = len(x)
    h = torch.eye(n, dtype=torch.float64) - 1 / n
    k, m = h @ x @ x.T @ h, h @ y @ y.T @ h
    return float((k * m).sum() / (k.norm() * m.norm()))


@pytest.mark.parametrize(("n", "d", "e"), [(40, 3, 5), (8, 30, 50)])
def test_cka_is_its_definition(n: int, d: int, e: int) -> None:
    x, y = drawn(n, d), drawn(n, e, 1)
    y[:, :3] += x[:, :3]
    assert cka(x, y, debiased=False) == pytest.approx(plain(x, y), rel=1e-9)


def test_the_unbiased_form_is_the_mean_over_distinct_items() -> None:
    """By brute force over all ordered quadruples of different items of the kernel of HSIC."""
    x, y = drawn(6, 2), drawn(6, 3, 1)
    k, m = x @ x.T, y @ y.T
    terms = [float(k[i, j] * m[i, j] + k[i, j] * m[q, r] - 2 * k[i, j] * m[i, q]) for i, j, q, r in itertools.permutations(range(6), 4)]
    assert unbiased_energy(centred(x), centred(y)) == pytest.approx(sum(terms) / len(terms), rel=1e-9)


def test_what_cka_sees() -> None:
    x = drawn(50, 6)
    turn = torch.linalg.qr(drawn(6, 6, 2)).Q
    assert cka(x, 3 * x @ turn + 5) == pytest.approx(1)
    assert cka(x.float(), x.float()) == pytest.approx(1, abs=1e-5)
    # unrelated, 20 items in 300 dimensions: the plain value says they agree
    pairs = [(drawn(20, 300, s), drawn(20, 300, 100 + s)) for s in range(20)]
    assert min(cka(a, b, debiased=False) for a, b in pairs) > 0.9
    found = torch.tensor([cka(a, b) for a, b in pairs])
    assert abs(float(found.mean())) < 4 * float(found.std()) / math.sqrt(20)


def test_mutual_neighbours_against_a_loop() -> None:
    x, y = drawn(15, 4), drawn(15, 7, 1)
    total = 0.0
    for i in range(15):
        near = []
        for side in (x, y):
            u = side / side.norm(dim=1, keepdim=True)
            scores = [(-float(u[i] @ u[j]), j) for j in range(15) if j != i]
            near.append({j for _, j in sorted(scores)[:3]})
        total += len(near[0] & near[1]) / 3
    assert mutual_neighbours(x, y, k=3) == pytest.approx(total / 15)
    assert mutual_neighbours(x, 2 * x, k=3) == 1
    exact = mutual_neighbours(drawn(400, 5), drawn(400, 5) + drawn(400, 5, 1), k=10)
    sampled = mutual_neighbours(drawn(400, 5), drawn(400, 5) + drawn(400, 5, 1), k=10, rows=100)
    assert abs(sampled - exact) < 4 * sampled.error


def test_bad_input_is_named() -> None:
    with pytest.raises(DataError, match="as many"):
        cka(drawn(5, 2), drawn(6, 2))
    with pytest.raises(DataError, match="all vectors of one side are the same"):
        cka(drawn(5, 2), torch.ones(5, 2))
    with pytest.raises(ParameterError, match="k must be a whole number from 1 to 4"):
        mutual_neighbours(drawn(5, 2), drawn(5, 2), k=5)
