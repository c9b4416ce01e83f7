"""Optimal transport: POT and linear programmes as oracles, official code's plans, masks, and gradients."""

import itertools
import math

import numpy as np
import ot
import pytest
import torch

from dipole.core.errors import DataError, ParameterError
from dipole.pairwise.transport import equipartition, partial_sinkhorn, sinkhorn, unbalanced_sinkhorn
from tests.golden_case import Case

LONG = {"iterations": 5000, "tolerance": 1e-9}


def problem(n=4, m=6, seed=0):
    gen = torch.Generator().manual_seed(seed)
    cost, a, b = (torch.rand(*s, generator=gen, dtype=torch.float64) for s in ((n, m), (n,), (m,)))
    return cost, a / a.sum(), b / b.sum()


def test_balanced_is_pots():
    cost, a, b = problem()
    want = ot.bregman.sinkhorn_log(a.numpy(), b.numpy(), cost.numpy(), reg=0.05, stopThr=1e-14, numItermax=20000)
    got = sinkhorn(cost, 0.05, a, b, iterations=5000, tolerance=0.0)
    torch.testing.assert_close(got, torch.from_numpy(want), rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(got.sum(0), b, rtol=1e-12, atol=0)


def test_a_small_epsilon_comes_to_the_exact_plan():
    cost, a, b = problem()
    exact = ot.emd(a.numpy(), b.numpy(), cost.numpy())
    got = sinkhorn(cost.float(), 1e-3, a.float(), b.float(), **LONG)  # exp(-1 / 1e-3) is 0 in float32
    torch.testing.assert_close(got, torch.from_numpy(exact).float(), rtol=0, atol=2e-3)


def test_partial_is_pots():
    cost, a, b = problem()
    a, b = 3 * a, 2 * b
    for mass in (0.5, 1.4, 1.999):
        want = ot.partial.entropic_partial_wasserstein(a.numpy(), b.numpy(), cost.numpy(), reg=0.1, m=mass, stopThr=1e-15, numItermax=20000)
        got = partial_sinkhorn(cost, 0.1, mass, a, b, iterations=20000, tolerance=1e-13)
        torch.testing.assert_close(got, torch.from_numpy(want), rtol=1e-6, atol=1e-9)
        assert float(got.sum()) == pytest.approx(mass, rel=1e-12)


def test_unbalanced_is_pots():
    cost, a, b = problem()
    a, b = 3 * a, 2 * b
    for strength in (0.05, 1.0):
        want = ot.unbalanced.sinkhorn_unbalanced(
            a.numpy(), b.numpy(), cost.numpy(), reg=0.1, reg_m=strength, reg_type="kl", c=np.ones((4, 6)), stopThr=1e-15, numItermax=20000
        )
        got = unbalanced_sinkhorn(cost, 0.1, strength, a, b, iterations=20000, tolerance=1e-13)
        torch.testing.assert_close(got, torch.from_numpy(want), rtol=1e-7, atol=1e-10)


def test_published_plans_of_one_problem():
    """Computed with POT 0.9.7 for the catalogue: words of two sentences, masses of 1 each unless balanced."""
    similarity = torch.tensor([[0.9, 0.2, 0.1], [0.1, 0.8, 0.3], [0.2, 0.3, 0.1], [0.4, 0.1, 0.2]], dtype=torch.float64)
    cost = 1 - (similarity - similarity.min()) / (similarity.max() - similarity.min())
    ones = [torch.ones(n, dtype=torch.float64) for n in (4, 3)]
    near = {"rtol": 0, "atol": 2e-6}
    balanced = sinkhorn(cost, 0.1)
    torch.testing.assert_close(balanced[0, 0], torch.tensor(0.249571, dtype=torch.float64), **near)
    torch.testing.assert_close(
        balanced[2:], torch.tensor([[0.015705, 0.089788, 0.144507], [0.068033, 0.002621, 0.179346]]).double(), **near
    )
    partial = partial_sinkhorn(cost, 0.1, 1.5, *ones)
    torch.testing.assert_close(partial[[0, 1], [0, 1]], torch.tensor([0.99787, 0.497294]).double(), rtol=0, atol=5e-6)
    masses = {strength: unbalanced_sinkhorn(cost, 0.1, strength, *ones).sum() for strength in (0.1, 0.5, 1.0)}
    assert [float(m) for m in masses.values()] == pytest.approx([1.757226, 2.559114, 2.908063], abs=5e-6)
    rows = unbalanced_sinkhorn(cost, 0.1, 0.1, *ones).sum(1)
    torch.testing.assert_close(rows, torch.tensor([0.98989, 0.66059, 0.040815, 0.065931]).double(), rtol=0, atol=5e-6)


def test_limits():
    cost, a, b = problem()
    balanced = sinkhorn(cost, 0.1, a, b)
    torch.testing.assert_close(unbalanced_sinkhorn(cost, 0.1, 1e4, a, b, **LONG), balanced, rtol=1e-3, atol=1e-6)
    whole = partial_sinkhorn(cost, 0.1, 1.0, a, b, **LONG)
    torch.testing.assert_close(whole, balanced, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "kind", [sinkhorn, lambda c, e, **k: partial_sinkhorn(c, e, 0.7, **k), lambda c, e, **k: unbalanced_sinkhorn(c, e, 0.4, **k)]
)
def test_padding_is_as_if_it_were_not_there(kind):
    """Three problems of different sizes in one batch, each equal to itself alone; the padded places get nothing and no gradient."""
    sizes = [(4, 6), (2, 3), (3, 1)]
    cost, mask = torch.zeros(3, 4, 6, dtype=torch.float64), torch.zeros(3, 4, 6, dtype=torch.bool)
    for i, (n, m) in enumerate(sizes):
        cost[i, :n, :m], mask[i, :n, :m] = problem(n, m, i)[0], True
    cost.requires_grad_()
    plans = kind(cost, 0.2, mask=mask, iterations=300, tolerance=0.0)
    (plans * cost).sum().backward()
    assert bool(cost.grad.isfinite().all()) and bool((cost.grad[~mask] == 0).all()) and bool((plans[~mask] == 0).all())
    for i, (n, m) in enumerate(sizes):
        alone = kind(problem(n, m, i)[0], 0.2, iterations=300, tolerance=0.0)
        torch.testing.assert_close(plans[i, :n, :m], alone)


def test_a_mask_inside_is_an_endless_cost():
    cost, a, b = problem(5, 5)
    mask = torch.ones(5, 5, dtype=torch.bool)
    mask[[0, 1, 3], [0, 4, 2]] = False
    got = sinkhorn(cost, 0.1, a, b, mask=mask, **LONG)
    want = ot.bregman.sinkhorn_log(a.numpy(), b.numpy(), np.where(mask, cost, 50.0), reg=0.1, stopThr=1e-14, numItermax=20000)
    torch.testing.assert_close(got, torch.from_numpy(want), rtol=1e-7, atol=1e-10)


def test_gradients_are_those_of_finite_differences():
    cost, a, b = problem(3, 4)
    mask = torch.ones(3, 4, dtype=torch.bool)
    mask[0, 1] = False
    for plan in (
        lambda c: sinkhorn(c, 0.3, a, b, mask=mask, iterations=7, tolerance=0.0),
        lambda c: partial_sinkhorn(c, 0.3, 0.6, a, b, mask=mask, iterations=7, tolerance=0.0),
        lambda c: unbalanced_sinkhorn(c, 0.3, 0.5, a, b, mask=mask, iterations=7, tolerance=0.0),
    ):
        assert torch.autograd.gradcheck(plan, cost.clone().requires_grad_())


def test_equipartition_is_swavs():
    """BECLR's copy of SwAV's routine, and MGCA's, which ends with one more step on the items."""
    case = Case("beclr__distributed_sinkhorn__base")
    got = equipartition(case.array("in_scores"), float(case.array("in_eps")), int(case.array("in_iters")))
    torch.testing.assert_close(got, case.array("out_Q"), rtol=1e-6, atol=1e-12)
    case = Case("mgca__MGCA.sinkhorn__base")
    got = equipartition(case.array("in_z"), case.hyper["eps"], case.hyper["iters"])
    torch.testing.assert_close(got, case.array("out_Q"), rtol=1e-6, atol=1e-12)


def test_equipartition_gives_every_prototype_its_share():
    shares = equipartition(torch.randn(60, 5, dtype=torch.float64), epsilon=0.5, iterations=200)
    torch.testing.assert_close(shares.sum(1), torch.ones(60, dtype=torch.float64))
    torch.testing.assert_close(shares.sum(0), torch.full((5,), 12.0, dtype=torch.float64), rtol=1e-6, atol=0)


def test_equal_costs_share_alike_and_order_does_not_matter():
    cost, a, b = problem(3, 4)
    torch.testing.assert_close(sinkhorn(torch.zeros(3, 4).double(), 0.1, a, b), a[:, None] * b)
    for rows in itertools.permutations(range(3)):
        order = torch.tensor(rows)
        torch.testing.assert_close(sinkhorn(cost[order], 0.1, a[order], b), sinkhorn(cost, 0.1, a, b)[order])


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda c: sinkhorn(c, 0.0), ParameterError, "epsilon must be a number above 0, got 0.0"),
        (lambda c: sinkhorn(c, 0.1, torch.ones(2), torch.ones(3)), DataError, "same mass in all.*partial_sinkhorn"),
        (lambda c: sinkhorn(c, 0.1, torch.tensor([1.0, -1.0])), DataError, "rows must be one mass of at least 0 each"),
        (lambda c: sinkhorn(c, 0.1, torch.ones(3)), DataError, "rows must be one mass"),
        (lambda c: sinkhorn(c, 0.1, torch.zeros(2)), DataError, "rows have no mass at all"),
        (lambda c: sinkhorn(c * math.nan, 0.1), DataError, "costs must be finite"),
        (lambda c: sinkhorn(c, 0.1, torch.ones(2) / 2, mask=torch.tensor([[True] * 3, [False] * 3])), DataError, "go nowhere"),
        (lambda c: unbalanced_sinkhorn(c, 0.1, -1.0), ParameterError, "strength must be a number above 0"),
        (lambda c: partial_sinkhorn(c, 0.1, 1.5), ParameterError, "mass must be a number above 0 and at most"),
    ],
)
def test_what_has_no_plan_is_refused(call, error, said):
    with pytest.raises(error, match=said):
        call(torch.rand(2, 3))
