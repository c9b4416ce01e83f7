"""What arXiv:2012.09740 says of the contrastive loss and its temperature (row 38 of the catalogue), checked on the losses."""

import torch
from torch.nn.functional import normalize

from dipole import Pairs
from dipole.losses import InfoNCE, LinearContrast
from dipole.pairwise.scores.pair_function import PairFunction


def scores(n=8, seed=0):
    gen = torch.Generator().manual_seed(seed)
    q, k = (normalize(torch.randn(n, 4, generator=gen, dtype=torch.float64), dim=1) for _ in range(2))
    return (q @ k.T).requires_grad_()


def pairs_of(matrix):
    given = PairFunction(lambda rows, cols: rows[0] @ cols[0].T)
    return Pairs.aligned(matrix, torch.eye(len(matrix), dtype=matrix.dtype), score=given)


def penalties(temperature):
    """The gradient in every score of each row's loss: pull on the diagonal, push elsewhere."""
    s = scores()
    return torch.autograd.grad(InfoNCE(temperature=temperature)(pairs_of(s)).sum(), s)[0]


def relative(temperature):
    """r_i: each negative's share of the push."""
    grads = penalties(temperature)
    return grads.masked_fill(torch.eye(8, dtype=torch.bool), 0.0) / -grads.diagonal()[:, None]


def test_the_push_on_negatives_equals_the_pull_on_the_positive():
    for temperature in (0.05, 0.3, 2.0):
        torch.testing.assert_close(penalties(temperature).sum(1), torch.zeros(8, dtype=torch.float64), atol=1e-12, rtol=0)


def test_the_relative_penalty_is_a_softmax_over_negatives():
    logits = scores().detach().masked_fill(torch.eye(8, dtype=torch.bool), -torch.inf) / 0.3
    torch.testing.assert_close(relative(0.3), logits.softmax(1))


def test_the_penalties_spread_as_the_temperature_grows():
    entropies = [torch.special.entr(relative(t)).sum(1) for t in (0.02, 0.05, 0.1, 0.3, 0.7, 1.5, 10.0)]
    assert bool((torch.stack(entropies).diff(dim=0) > 0).all())
    torch.testing.assert_close(relative(1e3)[~torch.eye(8, dtype=torch.bool)], torch.full((56,), 1 / 7).double(), atol=1e-3, rtol=0)


def test_the_limits_of_the_temperature():
    """Large: the linear loss in gradient, so that hardness no longer counts. Small: the hardest negative alone."""
    s = scores()
    (linear,) = torch.autograd.grad(LinearContrast()(pairs_of(s)).sum(), s)
    grads = penalties(1e3)
    torch.testing.assert_close(grads / -grads.diagonal()[:, None], linear, atol=1e-3, rtol=0)
    assert bool((relative(1e-3).amax(1) > 0.99).all())


def test_linear_contrast_by_a_loop():
    s = scores()
    for i, got in enumerate(LinearContrast(spread_weight=0.7)(pairs_of(s)).tolist()):
        others = [float(s[i, j].detach()) for j in range(8) if j != i]
        assert abs(got - (0.7 * sum(others) / 7 - float(s[i, i].detach()))) < 1e-12
