"""Information bounds and what a map loses: known Gaussians, tables by enumeration, and the three definitions against each other."""

from __future__ import annotations

import math

import pytest
import torch

from dipole import Pairs
from dipole.core.errors import DataError, ParameterError
from dipole.diagnostics import information, information_bound, information_lost, sufficiency_gap
from dipole.losses import InfoNCE


def table(x: int = 6, z: int = 6, seed: int = 0) -> torch.Tensor:
    p = torch.rand(x, z, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).pow(3)
    return p / p.sum()


def gaussian(n: int, d: int, rho: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs of correlated vectors, written so that the dot product of their features is the log density ratio (up to a constant)."""
    gen = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, dtype=torch.float64, generator=gen)
    z = rho * x + math.sqrt(1 - rho**2) * torch.randn(n, d, dtype=torch.float64, generator=gen)
    c = rho**2 / (2 * (1 - rho**2))
    one = torch.ones(n, 1, dtype=torch.float64)
    q = torch.cat([rho / (1 - rho**2) * x, -c * x.square().sum(1, keepdim=True), one], dim=1)
    k = torch.cat([z, one, -c * z.square().sum(1, keepdim=True)], dim=1)
    return q, k


def test_the_bound_of_the_best_score_reaches_the_information_of_gaussians() -> None:
    truth = -2 / 2 * math.log(1 - 0.8**2)
    q, k = gaussian(4000, 2, 0.8)
    bounds = {size: information_bound(q, k, candidates=size) for size in (4, 64, 1000)}
    assert bounds[4] < bounds[64] < bounds[1000] <= truth + 3 * bounds[1000].error
    assert truth - bounds[1000] < 0.05
    assert all(bound < math.log(size) for size, bound in bounds.items())


def test_the_bound_is_infonce_below_log_k_and_independent_sides_have_none() -> None:
    q, k = gaussian(50, 3, 0.5)
    want = math.log(50) - float(InfoNCE(temperature=1.0)(Pairs.aligned(q, k)).mean())
    assert information_bound(q, k) == pytest.approx(want)
    strangers = information_bound(q, gaussian(50, 3, 0.5, seed=1)[1])
    assert strangers < 3 * strangers.error


def test_the_bound_saturates_at_log_k() -> None:
    eye = torch.eye(32)
    for size in (4, 32):
        assert information_bound(eye, eye, temperature=1e-3, candidates=size) == pytest.approx(math.log(size))


def test_three_definitions_of_sufficiency_agree() -> None:
    """By enumeration on 6 x 6: information lost, excess of the least risk, and the mean divergence of the conditionals."""
    p, of = table(), torch.tensor([0, 1, 0, 2, 2, 1])
    px, pz = p.sum(1), p.sum(0)
    coarse = torch.zeros(3, 6, dtype=torch.float64).index_add_(0, of, p)
    seen = coarse[of] / coarse[of].sum(1, keepdim=True)  # p(z | f(x))
    conditional = float((p * ((p / px[:, None]) / seen).log()).sum())

    def risk(score: torch.Tensor) -> float:  # large-K InfoNCE: E[-S] + E_x log E_z e^S
        return float(-(p * score).sum() + (px * (pz * score.exp()).sum(1).log()).sum())

    best, best_of_f = (p / (px[:, None] * pz)).log(), (seen / pz).log()
    variational = risk(best_of_f) - risk(best)
    lost = information_lost(p, of)
    assert lost == pytest.approx(conditional, abs=1e-12) and lost == pytest.approx(variational, abs=1e-12)
    assert risk(best) == pytest.approx(-information(p))
    noise = 0.1 * torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert risk(best + noise) > risk(best)


def test_maps_lose_at_least_nothing_and_at_most_everything() -> None:
    p = table(seed=1)
    assert information_lost(p, torch.tensor([5, 3, 1, 0, 2, 4])) == pytest.approx(0, abs=1e-12)  # invertible
    assert information_lost(p, torch.zeros(6, dtype=torch.int64)) == pytest.approx(information(p))
    first, then = torch.tensor([0, 1, 0, 2, 2, 1]), torch.tensor([0, 1, 0])
    assert information_lost(p, then[first]) >= information_lost(p, first)  # data processing


def test_chi_square_is_the_spectral_losss_family_member() -> None:
    p = table(4, 5, seed=2)
    product = p.sum(1, keepdim=True) * p.sum(0)
    ratio = p / product
    least = float(-2 * (p * ratio).sum() + (product * ratio.square()).sum())
    assert least == pytest.approx(-(1 + information(p, "chi2")))


def test_the_gap_of_a_map_on_held_out_pairs() -> None:
    """f keeps one of two coordinates: half of the information is lost; a rotation loses nothing."""
    q, k = gaussian(3000, 2, 0.8)
    c = 0.8**2 / (2 * (1 - 0.8**2))
    x, z = q[:, :2] * (1 - 0.8**2) / 0.8, k[:, :2]
    one = torch.ones(3000, 1, dtype=torch.float64)
    half_q = torch.cat([0.8 / (1 - 0.8**2) * x[:, :1], -c * x[:, :1].square(), one], dim=1)
    half_k = torch.cat([z[:, :1], one, -c * z[:, :1].square()], dim=1)
    found = sufficiency_gap(q, k, half_q, half_k, candidates=500)
    assert abs(found - -0.5 * math.log(1 - 0.8**2)) < 4 * found.error + 0.03
    turn = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))[0]
    assert sufficiency_gap(q, k, q @ turn, k @ turn, candidates=500) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_contrastive_loss_bounds_what_is_lost_and_that_the_downstream_error(seed: int) -> None:
    """A linear map of correlated Gaussians to 3 of 8 numbers, trained by InfoNCE: all the way, what it loses (closed form) is at most the
    excess of its loss, and predicting the worst linear target of the other view costs at most 1 - exp(-2 lost) of the target's variance."""
    gen = torch.Generator().manual_seed(seed)
    rho, mix = torch.linspace(0.9, 0.1, 8), torch.linalg.qr(torch.randn(8, 8, generator=gen))[0]
    shared = -0.5 * float((1 - rho.square()).log().sum())
    least = -0.5 * float((1 - rho[3:].square()).log().sum())
    maps = [(torch.randn(8, 3, generator=gen) / 8**0.5).requires_grad_() for _ in range(2)]

    def sides(n: int) -> tuple[torch.Tensor, torch.Tensor]:  # so that q . k is f(x) . g(z) - |g(z)|^2 / 2
        x = torch.randn(n, 8, generator=gen)
        k = (rho * x + (1 - rho.square()).sqrt() * torch.randn(n, 8, generator=gen)) @ maps[1]
        return torch.cat([x @ mix.T @ maps[0], torch.ones(n, 1)], 1), torch.cat([k, -0.5 * k.square().sum(1, keepdim=True)], 1)

    found = []
    step = torch.optim.Adam(maps, lr=2e-2)
    for done in range(201):
        if done % 40 == 0:
            with torch.no_grad():
                kept = torch.linalg.qr(maps[0])[0]
                both = kept.T @ mix * rho
                lost = shared + 0.5 * float(torch.logdet(torch.eye(3) - both @ both.T))
                full = rho[:, None] * mix.T
                worst = float(torch.linalg.matrix_norm(full - full @ kept @ kept.T, 2)) ** 2
                bound = information_bound(*sides(2000), candidates=500)
            assert least - 1e-4 < lost < shared - bound + 3 * bound.error
            assert worst < 1 - math.exp(-2 * lost)
            found.append((lost, worst))
        step.zero_grad()
        InfoNCE(temperature=1.0)(Pairs.aligned(*sides(128))).mean().backward()
        step.step()
    assert found[-1][0] < 0.4 * found[0][0] and found[-1][0] < least + 0.1  # it keeps the three numbers that are shared most
    assert found[-1][1] < found[0][1] - 0.15


def test_what_is_refused() -> None:
    eye = torch.eye(4)
    with pytest.raises(ParameterError, match="candidates must be a whole number from 2 to the 4 pairs"):
        information_bound(eye, eye, candidates=9)
    with pytest.raises(ParameterError, match="temperature must be a number above 0"):
        information_bound(eye, eye, temperature=-1.0)
    with pytest.raises(DataError, match=r"add up to 1 \(got 4.0\)"):
        information(eye)
    with pytest.raises(ParameterError, match="divergence must be kl or chi2"):
        information(eye / 4, "js")
    with pytest.raises(DataError, match="one whole number a row of the table"):
        information_lost(eye / 4, torch.zeros(3, dtype=torch.int64))
