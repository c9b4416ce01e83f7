"""Whitening, the momentum twin's target, uniformity across sides: official code and closed forms."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from dipole import Pairs
from dipole.core.errors import DataError, DegenerateBatchError, ParameterError, UsageError
from dipole.core.scores import Channel, Dot
from dipole.core.whitening import whiten
from dipole.losses import AlignUniform, BothViews, CrossUniform, InfoNCE, PredictedTwin, Whitened
from dipole.negatives.twin_views import TwinViews
from dipole.pairwise.scores.cosine import Cosine
from tests.golden_case import Case


def test_whitening_is_the_papers():
    """The official gradient holds the covariance constant; the catalogue also keeps the one through it."""
    case = Case("whitenedcse__ShuffledGroupWhitening__eval_G2")
    x, cotangent = case.leaf("x"), case.array("in_cotangent")
    y = whiten(x, case.hyper["groups"])
    torch.testing.assert_close(y, case.array("out_y"), rtol=1e-6, atol=1e-9)
    case.agrees((y * cotangent).sum(), value="paper_value", grad="paper_grad_", x=x)


def data(n=12, d=6):
    gen = torch.Generator().manual_seed(0)
    return torch.randn(n, d, generator=gen, dtype=torch.float64) @ torch.randn(d, d, generator=gen, dtype=torch.float64) + 1


def test_every_group_is_white():
    y = whiten(data(), 3, torch.tensor([4, 1, 5, 0, 3, 2]))
    torch.testing.assert_close(y.mean(0), torch.zeros(6, dtype=torch.float64))
    for group in ([4, 1], [5, 0], [3, 2]):
        torch.testing.assert_close(y[:, group].T @ y[:, group] / 12, torch.eye(2, dtype=torch.float64))


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_the_gradient_through_whitening_is_right_even_where_eigenvalues_are_equal(groups):
    order = torch.tensor([4, 1, 5, 0, 3, 2])
    assert torch.autograd.gradcheck(lambda x: whiten(x, groups, order), data().requires_grad_())
    white = whiten(data(), 1)  # all eigenvalues are 1
    assert torch.autograd.gradcheck(lambda x: whiten(x, groups, order), white.requires_grad_())


@pytest.mark.parametrize("groups", [1, 6])
def test_shuffling_changes_nothing_in_one_group_or_in_as_many_as_coordinates(groups):
    torch.testing.assert_close(whiten(data(), groups, torch.tensor([4, 1, 5, 0, 3, 2])), whiten(data(), groups))
    assert not torch.allclose(whiten(data(), 2, torch.tensor([4, 1, 5, 0, 3, 2])), whiten(data(), 2))


def test_whitened_sums_the_loss_over_shuffles_and_draws_anew():
    x = data()
    y = x + torch.randn(12, 6, dtype=torch.float64)
    pairs, loss = Pairs.aligned(x, y, score=Cosine()), Whitened(InfoNCE(temperature=0.05), groups=2, positives=2).double()
    chance = torch.Generator().manual_seed(0)
    orders = [torch.randperm(6, generator=chance) for _ in range(3)]
    asked = whiten(x, 2, orders[0])
    want = sum(InfoNCE(temperature=0.05)(Pairs.aligned(asked, whiten(y, 2, order), score=Cosine())) for order in orders[1:])
    torch.testing.assert_close(loss(pairs), want)
    assert not torch.allclose(loss(pairs), want)


def test_whitened_refuses_what_it_cannot_whiten():
    pairs = Pairs.aligned(data(), data())
    with pytest.raises(ParameterError, match="groups must be a divisor of 6 dimensions, got 4"):
        Whitened(groups=4)(pairs)
    with pytest.raises(DegenerateBatchError, match=r"1 of 1 groups vary in fewer directions.*raise batch_size"):
        Whitened(groups=1)(Pairs.aligned(data()[:5], data()[:5]))


def twins(first, second, t1, t2):
    return replace(Pairs.aligned(first, second), channels={"twin": Channel(t1, t2, Dot())})


def test_predicted_twin_and_the_spread_of_both_views_are_beclrs():
    """exp(cos / 2) is the Gaussian kernel of sharpness 1/4 times e^(1/2), so its log-mean is cross_uniform of both views plus 1/2."""
    case = Case("beclr__BECLRLoss__base")
    p1, p2, z1, z2 = case.leaves("p1", "p2", "z1", "z2")
    pulled = PredictedTwin(dimension=6, hidden=0)(twins(p1, p2, case.array("in_t1"), case.array("in_t2"))).mean()
    torch.testing.assert_close(pulled, case.array("out_pos"), rtol=1e-6, atol=0)
    units = Pairs.aligned(F.normalize(z1, dim=1), F.normalize(z2, dim=1))
    spread = BothViews(CrossUniform(sharpness=1 / (2 * case.hyper["temp"])))(units).mean() + 1 / case.hyper["temp"]
    torch.testing.assert_close(spread, case.array("out_neg"), rtol=1e-6, atol=0)
    case.agrees(pulled + case.hyper["lambda_neg"] * spread, p1=p1, p2=p2, z1=z1)


def test_predicted_twin_is_byols_distance():
    x, y, a, b = (torch.randn(5, 4, dtype=torch.float64) for _ in range(4))
    loss = PredictedTwin(dimension=4, hidden=8).double()
    distance = lambda p, t: (F.normalize(p, dim=1) - F.normalize(t, dim=1)).square().sum(1)  # noqa: E731
    want = (distance(loss.predict(x), b) + distance(loss.predict(y), a)) / 2
    torch.testing.assert_close(2 * loss(twins(x, y, a, b)) + 2, want)


def test_without_a_twin_the_way_to_one_is_said():
    x = torch.eye(3)
    with pytest.raises(DataError, match=r"no channel 'twin'.*twin_views"):
        PredictedTwin(dimension=3)(Pairs.aligned(x, x))
    with pytest.raises(UsageError, match=r"there is no twin of both sides.*momentum"):
        TwinViews().extend(Pairs.aligned(x, x), {"queries": x, "keys": x}, {})


def test_cross_uniform_is_the_contrastive_gaps():
    case = Case("contrastive-gap__CUAXU__base")
    image, text = case.leaves("image", "text")
    pairs = Pairs.aligned(image, text)
    cua = (InfoNCE(temperature=case.hyper["temperature"], two_sided=True)(pairs) + AlignUniform()(pairs)).mean()
    torch.testing.assert_close(cua, case.array("out_cua"), rtol=1e-6, atol=0)
    case.agrees(cua + CrossUniform(sharpness=case.hyper["t"])(pairs).mean(), image=image, text=text)


def test_cross_uniform_leaves_every_positive_out():
    labels = torch.tensor([0, 0, 1])
    q, k = torch.randn(3, 2, dtype=torch.float64), torch.randn(3, 2, dtype=torch.float64)
    apart = torch.cdist(q, k).square()[labels[:, None] != labels[None]]
    got = CrossUniform(sharpness=0.5)(Pairs.grouped(q, k, labels, labels))
    torch.testing.assert_close(got, (-0.5 * apart).exp().mean().log().expand(3))
    with pytest.raises(DegenerateBatchError, match="every entry is a positive"):
        CrossUniform()(Pairs.grouped(q, k, torch.zeros(3).long(), torch.zeros(3).long()))
