"""The gap to held-out pairs at equal k, and the slope of losses of score differences."""

from __future__ import annotations

import pytest
import torch

from dipole import Pairs
from dipole.core.errors import DataError, ParameterError
from dipole.diagnostics import generalisation_gap, sup_norm_slope
from dipole.losses import InfoNCE


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def logistic(v: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.pad(-v, (1, 0)).logsumexp(1)


def hinge(v: torch.Tensor) -> torch.Tensor:
    return (1 + (-v).amax(1)).relu()


def test_with_every_other_key_it_is_infonces_difference() -> None:
    train, held = (drawn(12, 3), drawn(12, 3, seed=1)), (drawn(12, 3, seed=2), drawn(12, 3, seed=3))
    want = InfoNCE(temperature=0.5)(Pairs.aligned(*held)).mean() - InfoNCE(temperature=0.5)(Pairs.aligned(*train)).mean()
    assert generalisation_gap(*train, *held, negatives=11, temperature=0.5) == pytest.approx(float(want))


def test_an_encoder_that_saw_neither_set_has_no_gap() -> None:
    gaps = [
        generalisation_gap(drawn(500, 4, seed=s), drawn(500, 4, seed=s + 50), drawn(500, 4, seed=s + 100), drawn(500, 4, seed=s + 150), 16)
        for s in range(8)
    ]
    mean = sum(gaps) / 8
    assert abs(mean) < 3 * (sum(g.error**2 for g in gaps) ** 0.5 / 8)


@pytest.mark.parametrize("seed", range(3))
def test_the_gap_falls_with_the_data_and_hardly_grows_with_k(seed: int) -> None:
    gen = torch.Generator().manual_seed(seed)
    mix = torch.randn(30, 30, generator=gen) / 30**0.5

    def pairs(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.randn(n, 30, generator=gen)
        return x, x @ mix + torch.randn(n, 30, generator=gen)

    held, gap = pairs(1000), {}
    for n in (60, 1000):
        train = pairs(n)
        left, right = ((0.1 * torch.randn(30, 10, generator=gen)).requires_grad_() for _ in range(2))
        step = torch.optim.Adam([left, right], lr=1e-2)
        for _ in range(150):
            some = torch.randint(0, n, (60,), generator=gen)
            step.zero_grad()
            InfoNCE(temperature=1.0)(Pairs.aligned(train[0][some] @ left, train[1][some] @ right)).mean().backward()
            step.step()
        for k in (4, 50):
            gap[n, k] = generalisation_gap(train[0] @ left, train[1] @ right, held[0] @ left, held[1] @ right, k)
    assert gap[60, 50] > 5 * abs(gap[1000, 50]) and gap[60, 50] > 5 * gap[60, 50].error
    assert gap[60, 50] < 4 * gap[60, 4]  # twelve times the negatives


@pytest.mark.parametrize("k", [1, 10, 10_000])
def test_logistic_and_hinge_have_slope_one_whatever_k(k: int) -> None:
    for loss in (logistic, hinge):
        found = sup_norm_slope(loss, negatives=k, trials=50)
        assert 0.99 < found <= 1 + 1e-9
        a, b = drawn(40, k), drawn(40, k, seed=1)  # the definition itself, on pairs of points
        assert bool(((loss(a) - loss(b)).abs() <= (a - b).abs().amax(1) + 1e-12).all())


def test_losses_that_are_not_tame_are_found() -> None:
    assert sup_norm_slope(lambda v: (1 - v).relu().square().mean(1), negatives=10) > 10
    sums = [sup_norm_slope(lambda v: torch.nn.functional.softplus(-v).sum(1), negatives=k) for k in (4, 64)]
    assert sums[0] == pytest.approx(4, rel=0.01) and sums[1] == pytest.approx(64, rel=0.01)  # a sum over negatives grows with k


def test_what_is_refused() -> None:
    x = drawn(5, 3)
    with pytest.raises(ParameterError, match="negatives must be a whole number from 1 to 4"):
        generalisation_gap(x, x, x, x, negatives=5)
    with pytest.raises(ParameterError, match="temperature must be a number above 0"):
        generalisation_gap(x, x, x, x, negatives=2, temperature=0.0)
    with pytest.raises(DataError, match="row i of one side"):
        generalisation_gap(x, x[:4], x, x, negatives=2)
    with pytest.raises(DataError, match=r"map \(n, k\) differences to \(n,\) values"):
        sup_norm_slope(lambda v: v, negatives=3)
