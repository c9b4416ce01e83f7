"""Gradient shares against autograd of InfoNCE on the whole matrix, and the limits of temperature."""

from __future__ import annotations

import math

import pytest
import torch

from dipole.core.errors import DataError, ParameterError
from dipole.diagnostics import estimate, gradient_share, gradient_share_of_queries, temperature_sensitivity
from tests.held import Held


def drawn(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def gradients(x: torch.Tensor, y: torch.Tensor, t: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The scores, and the gradient of sum_i InfoNCE_i in them."""
    u, v = (side / side.norm(dim=1, keepdim=True) for side in (x, y))
    s = (u @ v.T).requires_grad_()
    torch.nn.functional.cross_entropy(s / t, torch.arange(len(x)), reduction="sum").backward()
    assert s.grad is not None
    return s.detach(), s.grad


@pytest.mark.parametrize("n", [30, 300])
def test_sensitivity_against_autograd(n: int) -> None:
    x = drawn(n, 6)
    y = x + drawn(n, 6, 1)
    off = ~torch.eye(n, dtype=torch.bool)
    for found in temperature_sensitivity(x, y, [0.05, 0.3]):
        _, g = gradients(x, y, found.temperature)
        r = (g / -g.diagonal()[:, None])[off].reshape(n, n - 1)
        entropy = torch.special.entr(r).sum(1)
        assert torch.allclose(r.sum(1), torch.ones(n, dtype=torch.float64))  # the push equals the pull
        assert found.entropy == pytest.approx(float(entropy.mean()) / math.log(n - 1), rel=1e-7)
        assert found.negatives == pytest.approx(float(entropy.exp().mean()), rel=1e-7)
        assert found.hardest == pytest.approx(float(r.max(1).values.mean()), rel=1e-7)
        assert found.pull == pytest.approx(float(-g.diagonal().mean()) * found.temperature, rel=1e-7)


def test_the_limits_of_temperature() -> None:
    x = drawn(50, 8)
    found = temperature_sensitivity(x, x + drawn(50, 8, 1), [1e-4, 0.05, 0.1, 1.0, 1e3])
    assert [f.entropy for f in found] == sorted(f.entropy for f in found)
    assert found[0].negatives == pytest.approx(1, abs=1e-2) and found[0].hardest > 0.99
    assert found[-1].entropy == pytest.approx(1, abs=1e-6) and found[-1].hardest == pytest.approx(1 / 49, rel=1e-2)
    assert temperature_sensitivity(x.float(), x.float(), [1e-3])[0].pull < 1e-6


def test_shares_by_hardness_against_autograd() -> None:
    x = drawn(200, 4)
    y = x + drawn(200, 4, 1)
    s, g = gradients(x, y, 0.2)
    off = ~torch.eye(200, dtype=torch.bool)
    found = gradient_share(x, y, temperature=0.2, bins=8)
    place = ((s + 1) * 4).floor().clamp(0, 7)
    expected = [float(g[off & (place == b)].sum() / g[off].sum()) for b in range(8)]
    numbers = [float((off & (place == b)).sum() / off.sum()) for b in range(8)]
    assert found.gradient == pytest.approx(expected, rel=1e-7, abs=1e-12)
    assert found.negatives == pytest.approx(numbers)
    assert sum(found.gradient) == pytest.approx(1) and sum(found.negatives) == pytest.approx(1)
    assert found.edges[0] == -1 and found.edges[-1] == 1


def test_shares_of_queries_against_autograd() -> None:
    x = drawn(90, 4)
    y = x + drawn(90, 4, 1)
    s, g = gradients(x, y, 0.2)
    hardest = s.clone().fill_diagonal_(-torch.inf).max(1).values
    order = (s.diagonal() - hardest).argsort(descending=True)
    pull = -g.diagonal()[order]
    expected = [float(part.sum() / pull.sum()) for part in pull.tensor_split(4)]
    found = gradient_share_of_queries(x, y, 0.2)
    assert found == pytest.approx(expected, rel=1e-7)
    assert found == sorted(found)  # easy queries give the least


def test_memory_and_bad_input() -> None:
    x = torch.randn(6_000, 16)
    with Held() as held:
        temperature_sensitivity(x, x, [0.1, 0.5])
        gradient_share(x, x, 0.1, bins=4)
    assert held.peak < 100 * 2**20  # the matrix alone would take 144 MB, and there are several of it
    with pytest.raises(ParameterError, match="temperature must be"):
        gradient_share(x[:5], x[:5], 0)
    with pytest.raises(DataError, match="at least 3 vectors"):
        temperature_sensitivity(x[:2], x[:2])
    collapsed = torch.eye(3, dtype=torch.float64)
    with pytest.raises(DataError, match="no negative gets any gradient"):
        gradient_share(collapsed, collapsed, 1e-4)


def test_drawn_queries_meet_every_key() -> None:
    """``rows`` queries against all keys: each figure is the mean over those queries of a double loop."""
    x, y, t = drawn(40, 5), drawn(40, 5, 1), 0.2
    chosen = estimate.drawn("", 40, 9, 3)
    assert chosen is not None
    u, v = (torch.nn.functional.normalize(side.double(), dim=1) for side in (x, y))
    scores = (u @ v.T)[chosen]
    away = scores.clone()
    away[torch.arange(9), chosen] = -torch.inf
    share = (away / t).softmax(1)
    found = temperature_sensitivity(x, y, [t], rows=9, seed=3)[0]
    assert found.hardest == pytest.approx(float(share.max(1).values.mean()), rel=1e-5)
    assert found.pull == pytest.approx(float((1 - (scores / t).softmax(1)[torch.arange(9), chosen]).mean()), rel=1e-5)
    full = (scores / t).softmax(1)
    full[torch.arange(9), chosen] = 0.0
    by_bin = [float(full[(away >= low) & (away < low + 0.5)].sum() / full.sum()) for low in (-1.0, -0.5, 0.0, 0.5)]
    assert gradient_share(x, y, t, bins=4, rows=9, seed=3).gradient == pytest.approx(by_bin, rel=1e-5)
    assert len(gradient_share_of_queries(x, y, t, groups=3, rows=9)) == 3
    with pytest.raises(ParameterError, match="groups must be a whole number from 1 to 9"):
        gradient_share_of_queries(x, y, t, groups=10, rows=9)
