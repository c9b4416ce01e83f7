"""Weighing terms against each other: closed forms, a grid as an oracle, exact caching, and two processes against one."""

import math

import pytest
import torch

from dipole.assembly.build import build, resolved
from dipole.assembly.spec import load
from dipole.balance.mgda import MGDA, min_norm_weights
from dipole.balance.uncertainty import Uncertainty
from dipole.core.errors import DataError
from dipole.core.protocols import Terms
from dipole.losses import AlignUniform, Hinge, InfoNCE, SigLIP
from dipole.pairwise.scores.scaled_cosine import ScaledCosine
from dipole.train.check import check
from dipole.train.objective import Objective
from dipole.train.recipe import Recipe
from dipole.train.step import backward
from dipole.views.aligned import Aligned
from tests.train.stand_in import Bag, Sentences


def gradients(rows, d=4, seed=0):
    return torch.randn(rows, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("first", "second", "want"),
    [
        ([1.0, 0.0], [0.0, 1.0], 0.5),
        ([3.0, 0.0], [0.0, 1.0], 0.1),  # |g_2|^2 / (|g_1|^2 + |g_2|^2)
        ([1.0, 0.0], [2.0, 0.0], 1.0),  # the shorter of two that agree
        ([1.0, 0.0], [-3.0, 0.0], 0.75),  # at odds: they cancel
        ([1.0, 1.0], [1.0, 1.0], 0.5),
    ],
)
def test_two_gradients_in_closed_form(first, second, want):
    g = torch.tensor([first, second], dtype=torch.float64)
    torch.testing.assert_close(min_norm_weights(g @ g.T), torch.tensor([want, 1 - want], dtype=torch.float64))


def test_two_gradients_are_the_published_clip():
    for seed in range(20):
        g1, g2 = gradients(2, seed=seed)
        alpha = ((g2 - g1) @ g2 / (g1 - g2).square().sum()).clamp(0, 1)
        g = torch.stack([g1, g2])
        torch.testing.assert_close(min_norm_weights(g @ g.T), torch.stack([alpha, 1 - alpha]))


@pytest.mark.parametrize("seed", range(5))
def test_three_gradients_against_a_grid_and_every_term_falls(seed):
    g = gradients(3, d=3, seed=seed) + seed / 4  # from at odds to in agreement
    weights = min_norm_weights(g @ g.T)
    assert weights.min() >= 0 and math.isclose(weights.sum().item(), 1, rel_tol=1e-12)
    steps = torch.linspace(0, 1, 201, dtype=torch.float64)
    grid = torch.cartesian_prod(steps, steps)
    grid = grid[grid.sum(1) <= 1 + 1e-9]
    every = torch.cat([grid, 1 - grid.sum(1, keepdim=True)], dim=1)
    shortest, found = (every @ g).norm(dim=1).min(), (weights @ g).norm()
    assert found <= shortest + 1e-12 and found >= shortest - 0.02
    assert bool((g @ (weights @ g) >= found.square() - 1e-9).all())  # no term rises along it, to first order


def test_many_gradients_and_a_shift_of_scale():
    g = gradients(8, d=40)
    weights = min_norm_weights(g @ g.T)
    torch.testing.assert_close(min_norm_weights((1e9 * g) @ (1e9 * g).T), weights, rtol=1e-6, atol=1e-6)
    slope = g @ (weights @ g)
    assert bool((slope[weights > 1e-6] - slope.min() < 1e-5).all())  # optimal: equal slopes wherever there is weight


def test_a_term_without_a_gradient_does_not_stop_the_others():
    g = torch.cat([gradients(2), torch.zeros(1, 4, dtype=torch.float64)])
    torch.testing.assert_close(min_norm_weights(g @ g.T)[:2], min_norm_weights(g[:2] @ g[:2].T))
    assert min_norm_weights(g @ g.T)[2] == 0
    assert min_norm_weights(torch.zeros(3, 3)).tolist() == pytest.approx([1 / 3] * 3)


def test_uncertainty_is_at_rest_where_each_term_weighs_half_its_inverse():
    balance, losses = Uncertainty(), torch.tensor([4.0, 0.25, 1.0], dtype=torch.float64)
    balance.begin(3)
    balance.double()
    for start, rests in ((losses * 0 + 1, False), (2 * losses, True)):
        balance.log_variance.data = start.log()
        weights, penalty = balance(Terms(losses, [], lambda x: x))
        value = (weights * losses).sum() + penalty
        slope = torch.autograd.grad(value, balance.log_variance)[0]
        assert bool((slope.abs() < 1e-12).all()) == rests
    torch.testing.assert_close(weights.detach(), 1 / (2 * losses))
    assert math.isclose(value.item(), 1.5 + (2 * losses).log().sum().item() / 2)


def test_uncertainty_refuses_a_negative_term():
    balance = Uncertainty()
    balance.begin(2)
    with pytest.raises(DataError, match=r"term 1 must not be negative.*got -2.0.*mgda"):
        balance(Terms(torch.tensor([1.0, -2.0]), [], lambda x: x))


LOSSES = {
    "infonce": lambda: InfoNCE(temperature=1.0),
    "siglip": lambda: SigLIP(temperature=0.5, bias=-1.0),
    "hinge": lambda: Hinge(margin=0.5),
}


def stepped(balance, cached, names=("infonce", "siglip", "hinge")):
    encoder = Bag(seed=3, dropout=0.3)
    objective = Objective(Aligned(), ScaledCosine(), [LOSSES[n]() for n in names], [1.0, 0.3, 0.1][: len(names)], balance=balance())
    torch.manual_seed(11)
    done = backward(encoder, encoder, objective, objective.views(list(Sentences(14))), 4, cached=cached)
    return done, objective, [p.grad for p in (*encoder.parameters(), *objective.parameters()) if p.grad is not None]


@pytest.mark.parametrize("balance", [MGDA, Uncertainty])
def test_caching_stays_exact(balance):
    (ours, objective, a), (theirs, _, b) = stepped(balance, True), stepped(balance, False)
    assert float(ours.loss) == float(theirs.loss) and len(a) == len(b)
    whole = max(float(g.norm()) for g in b)
    for got, want in zip(a, b, strict=True):
        assert float((got - want).norm()) <= 1e-6 * whole
    assert len(objective.seen.weights) == len(objective.seen.losses) == 3
    if balance is MGDA:
        assert sum(objective.seen.weights) == pytest.approx(1)


def test_mgdas_step_lowers_every_term_where_the_plain_sum_raises_one():
    goals = torch.tensor([[1.0, 0.0], [-0.5, 1.0]], dtype=torch.float64)
    scale = torch.tensor([10.0, 1.0], dtype=torch.float64)  # the loud term pulls away from the quiet one's goal
    terms = lambda z: scale * (z - goals).square().sum(1)  # noqa: E731
    z = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    balanced, _ = MGDA()(Terms(terms(z), [z], lambda x: x))
    for weights, lowers in ((balanced, True), (torch.ones_like(balanced), False)):
        slope = torch.autograd.grad((weights * terms(z)).sum(), z)[0]
        assert bool((terms(z - 1e-3 * slope) < terms(z)).all()) == lowers


def test_a_negative_term_is_mgdas_business():
    encoder = Bag(dropout=0.0)
    objective = Objective(Aligned(), ScaledCosine(), [InfoNCE(temperature=1.0), AlignUniform()], balance=MGDA())
    backward(encoder, encoder, objective, objective.views(list(Sentences(9))), 0)
    assert sum(objective.seen.weights) == pytest.approx(1) and objective.seen.losses[1] < 0


@pytest.mark.parametrize("balance", [MGDA, Uncertainty])
def test_two_processes_and_a_resumed_run_equal_one(balance):
    losses = (InfoNCE(temperature=1.0), SigLIP(temperature=0.5, bias=-1.0), Hinge(margin=0.5))
    parts = {"views": Aligned(), "encoder": Bag(dropout=0.0), "losses": losses, "weights": (1.0, 0.3, 0.1)}
    found = check(Recipe((Sentences(24),), **parts, balance=balance()), only=["ranks = one", "resumed = unbroken"], batches=1)
    assert found.passed and len(found.findings) == 2, found


def test_recipes_take_a_balance(tmp_path):
    text = (load("simcse").path).read_text().replace("[origin]", 'balance = { use = "uncertainty" }\n\n[origin]')
    text = text.replace('losses  = [{ use = "infonce", temperature = 0.05 }]', 'losses = ["infonce", { use = "hinge", weight = 0.5 }]')
    (tmp_path / "both.toml").write_text(text)
    spec = load(tmp_path / "both.toml").changed({"rows": {"use": "toy.sentences", "count": 16}, "encoder": "toy.bag"}, "test")
    recipe = build(spec)
    assert isinstance(recipe.balance, Uncertainty) and recipe.weights == (1.0, 0.5)
    assert 'balance = { use = "uncertainty" }' in resolved(spec)
