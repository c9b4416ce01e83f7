"""Flow prior: the exact field of a Gaussian, who learns when, and the paper's proof of concept, a mixture in the plane."""

import pytest
import torch
from torch import nn

from dipole.core.encoded import Encoded
from dipole.core.errors import DataError
from dipole.regularizers import FlowPrior


def side(vectors):
    return Encoded(vectors)


class OfGaussian(nn.Module):
    """E[x - x0 | (1 - t) x0 + t x = z] for x normal with these means and deviations, in each dimension by itself."""

    def __init__(self, mean, spread):
        super().__init__()
        self.mean, self.spread = mean, spread

    def forward(self, zt):
        z, t = zt[:, :-1], zt[:, -1:]
        var = (1 - t) ** 2 + t**2 * self.spread**2
        return self.mean + (t * self.spread**2 - (1 - t)) / var * (z - t * self.mean)


def test_with_the_exact_field_the_loss_is_least_at_the_mean_and_grows_with_mahalanobis_distance():
    mean, spread = torch.tensor([1.0, -2.0], dtype=torch.float64), torch.tensor([0.5, 2.0], dtype=torch.float64)
    term = FlowPrior(dimension=2, warmup=0).double()
    term.velocity = OfGaussian(mean, spread)

    def at(steps):
        return float(term.over_encoded({"queries": side((mean + torch.tensor(steps) * spread).expand(20_000, 2))}))

    free = mean.clone().requires_grad_()
    slope = torch.autograd.grad(term.over_encoded({"queries": side(free.expand(20_000, 2))}), free)[0]
    assert float(slope.norm()) < 0.1
    least, some, more = at([0.0, 0.0]), at([1.0, 0.0]), at([0.0, 2.0])
    assert least < some - 0.1 < more - 0.3


def test_the_flow_learns_first_and_is_frozen_afterwards():
    term = FlowPrior(dimension=2, warmup=2, hidden=8)
    y, x = (torch.randn(6, 2, requires_grad=True) for _ in range(2))
    for step in range(4):
        grads = torch.autograd.grad(
            term.over_encoded({"queries": side(y), "keys": side(x)}), [y, x, *term.velocity.parameters()], allow_unused=True
        )
        told = [g is not None for g in grads]
        assert told == ([False, False] + [True] * (len(told) - 2) if step < 2 else [True] + [False] * (len(told) - 1))


def test_both_stages_are_one_formula():
    torch.manual_seed(0)
    one, two = FlowPrior(dimension=3, warmup=9), FlowPrior(dimension=3, warmup=0)
    two.load_state_dict(one.state_dict())
    x = torch.randn(5, 3)
    torch.testing.assert_close(one.over_encoded({"keys": side(x)}), two.over_encoded({"queries": side(x)}))


def test_targets_of_another_dimension_are_projected_at_random_but_always_alike():
    one, two = FlowPrior(dimension=4, target=400), FlowPrior(dimension=4, target=400)
    assert torch.equal(one.projection, two.projection) and float(one.projection.var()) == pytest.approx(1 / 400, rel=0.15)
    assert one.over_encoded({"keys": side(torch.randn(5, 400))}).isfinite()
    with pytest.raises(DataError, match="keys must have 400 dimensions"):
        one.over_encoded({"keys": side(torch.randn(5, 4))})
    with pytest.raises(DataError, match="no side 'keys'"):
        one.over_encoded({"queries": side(torch.randn(5, 4))})


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_free_latents_move_to_where_a_mixture_is_dense(seed):
    """The paper's two-dimensional experiment: the likelihood of 500 free vectors rises, and the loss ranks places as it does."""
    torch.manual_seed(seed)
    middles = torch.tensor([[3.0, 0], [-1.5, 2.6], [-1.5, -2.6]])
    normal = torch.distributions.Independent(torch.distributions.Normal(middles, torch.full((3, 2), 0.5)), 1)
    mixture = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(torch.ones(3)), normal)
    term = FlowPrior(dimension=2, warmup=600, hidden=64, depth=2)
    optimizer = torch.optim.Adam(term.parameters(), lr=5e-3)
    for _ in range(600):
        optimizer.zero_grad()
        term.over_encoded({"keys": side(mixture.sample((256,)))}).backward()
        optimizer.step()
    y = (4 * torch.randn(500, 2)).requires_grad_()
    before = -mixture.log_prob(y.detach()).mean()
    optimizer = torch.optim.Adam([y], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        (500 * term.over_encoded({"queries": side(y)})).backward()
        optimizer.step()
    assert float(-mixture.log_prob(y.detach()).mean()) < 5 < 20 < float(before)
    assert min(torch.cdist(y.detach(), middles).argmin(1).bincount(minlength=3).tolist()) > 100  # it is no one mode that draws all
    grid = torch.cartesian_prod(torch.linspace(-5, 5, 15), torch.linspace(-5, 5, 15))
    with torch.no_grad():
        loss = torch.stack([term.over_encoded({"queries": side(place.expand(200, 2))}) for place in grid])
    ranks = torch.stack([v.argsort().argsort().double() for v in (loss, -mixture.log_prob(grid))])
    assert float(torch.corrcoef(ranks)[0, 1]) > 0.85
