"""Pairwise sigmoids, squares and CACR: loops, closed forms, and the authors' numbers."""

import math

import pytest
import torch

from dipole import Pairs
from dipole.core.errors import DegenerateBatchError
from dipole.losses import CACR, ETS, AlignUniform, FocalSigmoid, SigLIP, Spectral
from tests.golden_case import EXACT, Case


def sides(n=7, m=None, d=5, seed=0):
    gen = torch.Generator().manual_seed(seed)
    unit = lambda r: torch.nn.functional.normalize(torch.randn(r, d, generator=gen, dtype=torch.float64), dim=1)  # noqa: E731
    return unit(n).requires_grad_(), unit(m or n).requires_grad_()


def replaced(q, k, aligned):
    """Pairs in which some keys were replaced: their rows have no positive."""
    own = torch.arange(len(q)).where(aligned.bool(), -1)
    return Pairs.grouped(q, k, own, own)


@pytest.mark.parametrize("stem", ["default", "all_aligned"])
def test_ets_is_the_authors(stem):
    case = Case(f"cmelt__ETSLoss__{stem}")
    e, t = case.leaves("e", "t")
    case.agrees(ETS()(replaced(e, t, case.array("in_aligned"))).mean(), e=e, t=t)


def test_ets_is_siglip_by_the_number_of_candidates():
    q, k = sides()
    pairs = Pairs.aligned(q, k)
    torch.testing.assert_close(ETS(temperature=0.5)(pairs), SigLIP(temperature=0.5, bias=0.0).double()(pairs) / 7)


def test_replacing_a_key_changes_ets_by_its_score():
    q, k = sides()
    before, after = (ETS()(replaced(q, k, torch.tensor([1, 1, flag, 1, 1, 1, 1]))).mean() for flag in (1, 0))
    torch.testing.assert_close(after - before, (q[2] @ k[2]) / 49)


@pytest.mark.parametrize("gamma", [0, 1])
def test_focal_sigmoid_is_the_authors(gamma):
    """Their logits as scores, against the identity as keys."""
    case = Case(f"rovit__compute_focal_contrastive_loss__gamma{gamma}")
    logits = case.leaf("logits")
    loss = FocalSigmoid(temperature=1.0, focus=float(gamma)).double()(Pairs.aligned(logits, torch.eye(5, dtype=torch.float64))).mean()
    torch.testing.assert_close(loss, case.array("out_loss"), **EXACT)
    torch.testing.assert_close(torch.autograd.grad(loss, logits)[0], case.array("out_dloss_dlogits"), **EXACT)


def test_focal_sigmoid_by_a_double_loop_with_all_its_parameters():
    q, k = sides(4, 6)
    got = FocalSigmoid(temperature=0.5, focus=2.0, balance=0.3).double()(Pairs.aligned(q, k))
    for i in range(4):
        total = 0.0
        for j in range(6):
            z, a = (1, 0.3) if i == j else (-1, 0.7)
            p = 1 / (1 + math.exp(-z * 2 * float(q[i].detach() @ k[j].detach())))
            total -= 2 * a * (1 - p) ** 2 * math.log(p)
        assert math.isclose(got[i].item(), total, rel_tol=1e-6)


def test_focal_sigmoid_without_focus_is_siglip_without_bias():
    q, k = sides()
    pairs = Pairs.aligned(q, k)
    torch.testing.assert_close(FocalSigmoid(temperature=0.2, focus=0.0)(pairs), SigLIP(temperature=0.2, bias=0.0)(pairs))
    only = FocalSigmoid(temperature=0.2, focus=0.0, balance=1.0).double()(pairs)
    torch.testing.assert_close(only, 2 * torch.nn.functional.softplus(-(q * k).sum(1) / 0.2), rtol=1e-6, atol=0)


def test_spectral_by_a_double_loop():
    q, k = sides(4, 6)
    got, s = Spectral()(Pairs.aligned(q, k)), (q @ k.T).tolist()
    for i in range(4):
        assert math.isclose(got[i].item(), -2 * s[i][i] + sum(s[i][j] ** 2 for j in range(6) if j != i) / 5, rel_tol=1e-12)


def test_the_minimiser_of_spectral_is_the_density_ratio():
    """A 3 x 4 joint table in full: -2 E_joint s + E_independent s^2 is least at p / (p_x p_z), where it is -(1 + chi^2)."""
    p = torch.tensor([[0.2, 0.05, 0.05, 0.1], [0.02, 0.2, 0.03, 0.05], [0.05, 0.05, 0.1, 0.1]], dtype=torch.float64)
    product = p.sum(1, keepdim=True) * p.sum(0)
    s = torch.zeros_like(p, requires_grad=True)
    risk = lambda s: -2 * (p * s).sum() + (product * s.square()).sum()  # noqa: E731
    step = torch.optim.LBFGS([s], max_iter=200, tolerance_grad=1e-12, line_search_fn="strong_wolfe")
    step.step(lambda: (step.zero_grad(), risk(s), risk(s).backward())[1])
    torch.testing.assert_close(s.detach(), p / product, rtol=1e-5, atol=1e-6)
    chi = ((p - product).square() / product).sum()
    assert math.isclose(risk(s).item(), -(1 + chi.item()), rel_tol=1e-8)
    # a batch drawn in those proportions: 100 pairs; mean over rows of the part is that risk, the diagonal corrected for
    counts = (100 * p).round().long()
    x, z = (t.repeat_interleave(counts.flatten()) for t in (torch.arange(3).repeat_interleave(4), torch.arange(4).repeat(3)))
    ratio = (p / product)[x]  # row x of s as the query, one-hot z as the key
    batch = Spectral()(Pairs.aligned(ratio, torch.nn.functional.one_hot(z, 4).double())).mean()
    diagonal = (p / product)[x, z].square().mean()
    expected = (100 * risk(p / product) + 200 * (p * (p / product)).sum() - diagonal) / 99 - 2 * (p * (p / product)).sum()
    assert math.isclose(batch.item(), expected.item(), rel_tol=1e-9)


def cacr_over_views(z, **parameters):
    """The authors' mean: every view attracts the sample's other views; each pair of views x < y repels."""
    views, n, _ = z.shape
    everything = Pairs.labelled(z.reshape(-1, z.shape[2]), torch.arange(n).repeat(views))
    attraction = CACR(repel_weight=0, **parameters)(everything).mean()
    ordered = [(x, y) for x in range(views) for y in range(x + 1, views)]
    repulsion = sum(CACR(attract_weight=0, **parameters)(Pairs.aligned(z[x], z[y])).mean() for x, y in ordered)
    return attraction + repulsion / len(ordered)


def test_cacr_is_the_authors():
    case = Case("cacr__our_loss1-our_loss2__full")
    z = case.leaf("z")
    case.agrees(cacr_over_views(z, far_positives=1.0, near_negatives=0.9), z=z)
    case.agrees(cacr_over_views(z, far_positives=1.0, near_negatives=0.9, live=False), value="paper_value", grad="paper_grad_", z=z)


def test_cacr_with_uniform_weights_is_the_authors():
    case = Case("cacr__our_loss1-our_loss2__uniform_weights")
    z = case.leaf("z")
    for live in (True, False):
        case.agrees(cacr_over_views(z, far_positives=0.0, near_negatives=0.0, live=live), z=z)


def test_cacr_by_a_double_loop():
    q, k = sides(5, 8)
    got, d = CACR(near_negatives=2.0, attract_weight=0.5, repel_weight=3.0)(Pairs.aligned(q, k)), torch.cdist(q, k).square().tolist()
    for i in range(5):
        w = [math.exp(-2 * d[i][j]) for j in range(8) if j != i]
        mean = sum(a * d[i][j] for a, j in zip(w, [j for j in range(8) if j != i], strict=True)) / sum(w)
        assert math.isclose(got[i].item(), 0.5 * d[i][i] - 3 * mean, rel_tol=1e-9)


def test_cacrs_repulsion_with_constant_weights_has_infonces_gradient():
    q, k = sides()
    value = CACR(attract_weight=0, near_negatives=2.0, live=False)(Pairs.aligned(q, k)).mean()
    d = torch.cdist(q, k).square().masked_fill(torch.eye(7, dtype=torch.bool), math.inf)
    twin = ((-2.0 * d).logsumexp(1) / 2.0).mean()
    for ours, theirs in zip(torch.autograd.grad(value, [q, k]), torch.autograd.grad(twin, [q, k]), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_cacr_with_one_positive_attracts_as_align_uniform_does():
    q, k = sides()
    ours = CACR(repel_weight=0, far_positives=5.0)(Pairs.aligned(q, k))
    torch.testing.assert_close(ours, AlignUniform(uniform_weight=0)(Pairs.aligned(q, k)))


def test_a_sharp_cacr_attracts_only_the_farthest_positive():
    z, _ = sides(6)
    pairs = Pairs.labelled(z, torch.tensor([0, 0, 0, 0, 1, 1]))
    d = torch.cdist(z, z).square()
    got = CACR(repel_weight=0, far_positives=500.0)(pairs)
    torch.testing.assert_close(got[:4], d[:4, :4].max(1).values, rtol=1e-4, atol=1e-4)


def test_cacr_refuses_what_it_is_not_defined_on():
    with pytest.raises(DegenerateBatchError, match="no row of the batch has a positive"):
        CACR()(Pairs.labelled(torch.eye(3), torch.tensor([0, 1, 2])))
    with pytest.raises(DegenerateBatchError, match="some rows have no negative"):
        CACR()(Pairs.labelled(torch.eye(3), torch.tensor([0, 0, 0])))
    values = CACR(repel_weight=0)(Pairs.labelled(torch.eye(3), torch.tensor([0, 0, 1])))
    assert values[2].item() == 0  # alone in its class: repelled only


@pytest.mark.parametrize("loss", [ETS(), Spectral(), CACR()], ids=lambda x: type(x).__name__)
def test_a_batch_of_one_is_refused(loss):
    with pytest.raises(DegenerateBatchError, match="at least one negative"):
        loss(Pairs.aligned(torch.ones(1, 3), torch.ones(1, 3)))
