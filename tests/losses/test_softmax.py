"""Softmax losses against the whole matrix in plain PyTorch, loops over pairs, other libraries, and the papers' own claims."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from dipole import Pairs
from dipole.core.errors import DataError, DegenerateBatchError, ParameterError
from dipole.core.relations import Diagonal, Listed
from dipole.losses import (
    CWCL,
    DCL,
    DCLW,
    HNNCE,
    MACL,
    AdditiveMargin,
    AngularMargin,
    Debiased,
    Distilled,
    FocalInfoNCE,
    FourBlock,
    InfoNCE,
    PerPositive,
    SupCon,
    SupConIn,
)
from dipole.pairwise import Channel
from dipole.pairwise.scores.cosine import Cosine
from dipole.pairwise.scores.distance_power import DistancePower
from dipole.pairwise.scores.kernel_mixture import KernelMixture


def sides(n=7, m=None, d=5, seed=0):
    gen = torch.Generator().manual_seed(seed)
    return [normalize(torch.randn(r, d, generator=gen, dtype=torch.float64), dim=1).requires_grad_() for r in (n, m or n)]


def probe():
    """The catalogue's PROBE."""
    n = torch.arange(12, dtype=torch.float64).reshape(4, 3)
    return normalize(torch.sin(1 + n), dim=1), normalize(torch.cos(1 + 2 * n), dim=1)


def same(got, want, *leaves):
    """Values, and the gradients of sums weighted row by row."""
    torch.testing.assert_close(got, want)
    weights = torch.arange(1.0, len(got) + 1, dtype=torch.float64)
    grads = [torch.autograd.grad((x * weights).sum(), leaves, retain_graph=True) for x in (got, want)]
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)


COPIES = torch.tensor([1, 1, 2, 3, 4, 4, 4])  # ids of 7 rows


def crowded(q, k):
    """Aligned pairs with copies left out and hard negatives, shared and owned; the mask of what counts."""
    more = sides(4, seed=9)[0]
    owner = torch.tensor([-1, 2, 2, 5])
    pairs = Pairs.aligned(q, k, key_ids=COPIES).with_negatives(more, owner)
    keep = torch.cat([(COPIES[:, None] != COPIES[None]) | torch.eye(7, dtype=torch.bool), torch.ones(7, 4, dtype=torch.bool)], 1)
    keep[:, 7:] &= (owner == -1) | (owner == torch.arange(7)[:, None])
    scores = torch.cat([q @ k.T, q @ more.T], 1)
    return pairs, scores, keep


@pytest.mark.parametrize("two_sided", [False, True])
def test_label_smoothing_is_pytorchs(two_sided):
    q, k = sides()
    got = InfoNCE(temperature=0.2, two_sided=two_sided, label_smoothing=0.1)(Pairs.aligned(q, k))
    one = [cross_entropy(s / 0.2, torch.arange(7), label_smoothing=0.1, reduction="none") for s in (q @ k.T, k @ q.T)]
    same(got, (one[0] + one[1]) / 2 if two_sided else one[0], q, k)


def test_label_smoothing_spreads_over_what_counts():
    q, k = sides()
    pairs, scores, keep = crowded(q, k)
    for i, got in enumerate(InfoNCE(temperature=0.2, label_smoothing=0.3)(pairs).tolist()):
        logits = (scores[i, keep[i]] / 0.2).detach()
        place = int(keep[i, :i].sum())
        assert got == pytest.approx(cross_entropy(logits[None], torch.tensor([place]), label_smoothing=0.3).item(), rel=1e-10)


def test_smoothed_infonce_is_least_at_the_entropy_of_its_target():
    """The catalogue's check of row 131: not 0."""
    eye = 50 * torch.eye(4, dtype=torch.float64)
    target = torch.full((4,), 0.1 / 4, dtype=torch.float64) + torch.tensor([0.9, 0, 0, 0], dtype=torch.float64)
    entropy = -(target * target.log()).sum()
    best = torch.full((4, 4), 0.0, dtype=torch.float64).fill_diagonal_(float((target[0] / target[1]).log()))
    ideal = InfoNCE(temperature=1.0, label_smoothing=0.1)(Pairs.aligned(best, torch.eye(4, dtype=torch.float64)))
    torch.testing.assert_close(ideal, entropy.expand(4))
    assert bool((InfoNCE(temperature=1.0, label_smoothing=0.1)(Pairs.aligned(eye, torch.eye(4, dtype=torch.float64))) > entropy).all())


def test_dclw_by_a_loop_and_its_weights_mean_is_one():
    q, k = sides()
    positives = [float(q[i].detach() @ k[i].detach()) for i in range(7)]
    mean = sum(math.exp(p / 0.5) for p in positives) / 7
    weights = [2 - math.exp(p / 0.5) / mean for p in positives]
    assert sum(weights) / 7 == pytest.approx(1)
    got, plain = DCLW(temperature=0.2)(Pairs.aligned(q, k)), DCL(temperature=0.2)(Pairs.aligned(q, k))
    for i in range(7):
        assert got[i].item() == pytest.approx(plain[i].item() - (weights[i] - 1) * positives[i] / 0.2, rel=1e-9)


def test_dclw_of_equal_positives_is_dcl():
    q, _ = sides()
    same(DCLW(temperature=0.2)(Pairs.aligned(q, q)), DCL(temperature=0.2)(Pairs.aligned(q, q)), q)


def labelled():
    z = sides(9)[0]
    return z, torch.tensor([0, 1, 0, 2, 1, 0, 3, 2, 0])


def test_supcon_in_by_a_loop_and_by_jensen():
    z, labels = labelled()
    pairs = Pairs.labelled(z, labels)
    got, outer = SupConIn(temperature=0.3)(pairs), SupCon(temperature=0.3)(pairs)
    s = (z @ z.T / 0.3).exp().detach()
    for i in range(9):
        mates = [j for j in range(9) if j != i and labels[j] == labels[i]]
        if mates:
            want = -math.log(float(s[i, mates].mean()) / float(s[i].sum() - s[i, i]))
            assert got[i].item() == pytest.approx(want, rel=1e-9)
            assert (abs(got[i] - outer[i]) < 1e-12) if len(mates) == 1 else (got[i] < outer[i])
    assert got[6].item() == 0 and not torch.autograd.grad(got[6], z)[0].any()


def test_supcon_of_one_class_at_one_point_is_the_log_of_the_others():
    """The catalogue's check of row 136."""
    z = torch.ones(10, 3, dtype=torch.float64)
    for loss in (SupCon(), SupConIn()):
        torch.testing.assert_close(loss(Pairs.labelled(z, torch.zeros(10, dtype=torch.long))), torch.full((10,), math.log(9)).double())


def graded_pairs(q, k):
    row, col, weight = torch.tensor([0, 0, 1, 2, 2, 2, 4, 5, 6]), torch.tensor([0, 3, 1, 2, 4, 7, 4, 5, 8]), torch.rand(9).double() + 0.1
    targets = torch.zeros(7, 9, dtype=torch.float64).index_put((row, col), weight)
    return Pairs(q, k, Listed.of(row, col, weight)), targets


def test_graded_supcon_is_cross_entropy_to_soft_targets():
    q, k = sides(7, 9)
    pairs, targets = graded_pairs(q, k)
    total = targets.sum(1, keepdim=True)
    want = cross_entropy(q @ k.T / 0.2, targets / total.clamp(min=1e-9), reduction="none")
    got = SupCon(temperature=0.2)(pairs)
    same(got, torch.where(total[:, 0] > 0, want, 0.0), q, k)
    inner = SupConIn(temperature=0.2)(pairs)
    p = (q @ k.T / 0.2).softmax(1)
    some = total[:, 0] > 0
    same(inner[some], -((p * targets).sum(1)[some] / total[some, 0]).log(), q, k)


def test_per_positive_is_pytorch_metric_learnings_ntxent():
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    z = sides(12)[0]
    labels = torch.arange(12) % 4  # every row has two positives, so that PML's mean over pairs is the mean over rows
    want = losses.NTXentLoss(temperature=0.2)(z, labels)
    got = PerPositive(temperature=0.2)(Pairs.labelled(z, labels, score=Cosine())).mean()
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(torch.autograd.grad(got, z)[0], torch.autograd.grad(want, z)[0], rtol=1e-6, atol=1e-8)


def test_per_positive_by_a_loop_graded_and_of_one_positive():
    q, k = sides(7, 9)
    pairs, targets = graded_pairs(q, k)
    got = PerPositive(temperature=0.2)(pairs)
    e = (q @ k.T / 0.2).exp().detach()
    for i in range(7):
        repel = sum(e[i, j].item() for j in range(9) if targets[i, j] == 0)
        terms = [(targets[i, j].item(), -math.log(e[i, j].item() / (e[i, j].item() + repel))) for j in range(9) if targets[i, j] > 0]
        want = sum(w * t for w, t in terms) / sum(w for w, _ in terms) if terms else 0.0
        assert got[i].item() == pytest.approx(want, rel=1e-9)
    q, k = sides()
    pairs, _, _ = crowded(q, k)
    same(PerPositive(temperature=0.2)(pairs), InfoNCE(temperature=0.2)(pairs), q, k)


@pytest.mark.parametrize("loss", [SupCon, SupConIn, PerPositive])
def test_without_any_positive_there_is_nothing_to_learn(loss):
    with pytest.raises(DegenerateBatchError, match="no row of the batch has a positive"):
        loss()(Pairs.labelled(torch.eye(3), torch.arange(3)))


def test_four_block_by_a_loop_with_copies_and_hard_negatives():
    q, k = sides()
    more, owner = sides(4, seed=9)[0], torch.tensor([-1, 2, 2, 5])
    pairs = Pairs.aligned(q, k, key_ids=COPIES).with_negatives(more, owner)
    got = FourBlock(temperature=0.3)(pairs)
    e = lambda a, b: math.exp(float(a.detach() @ b.detach()) / 0.3)  # noqa: E731
    for i in range(7):
        others = [j for j in range(7) if COPIES[i] != COPIES[j]]
        z = e(q[i], k[i]) * 2 + sum(e(q[i], k[j]) + e(q[j], k[i]) + e(q[i], q[j]) + e(k[i], k[j]) for j in others)
        z += sum(e(q[i], more[j]) + e(k[i], more[j]) for j in range(4) if owner[j] in (-1, i))
        assert got[i].item() == pytest.approx(math.log(z / e(q[i], k[i])), rel=1e-9)


def test_four_block_swaps_roles_and_never_falls_below_log_two():
    q, k = sides()
    same(FourBlock(temperature=0.1)(Pairs.aligned(q, k)), FourBlock(temperature=0.1)(Pairs.aligned(k, q)), q, k)
    apart = torch.eye(7, dtype=torch.float64)
    torch.testing.assert_close(FourBlock(temperature=0.01)(Pairs.aligned(apart, apart)), torch.full((7,), math.log(2)).double())


def test_hn_nce_by_a_loop_with_copies_and_hard_negatives():
    q, k = sides()
    pairs, scores, keep = crowded(q, k)
    for beta, alpha in ((0.0, 1.0), (0.5, 1.0), (2.0, 0.3), (1.0, 0.0)):
        got = HNNCE(temperature=0.4, hardness=beta, positive_share=alpha)(pairs)
        for i in range(7):
            z = (scores[i] / 0.4).tolist()
            others = [j for j in range(11) if j != i and keep[i, j]]
            total = sum(math.exp(beta * z[j]) for j in others)
            weights = {j: len(others) * math.exp(beta * z[j]) / total for j in others}
            assert sum(weights.values()) == pytest.approx(len(others))
            bottom = alpha * math.exp(z[i]) + sum(w * math.exp(z[j]) for j, w in weights.items())
            assert got[i].item() == pytest.approx(math.log(bottom) - z[i], rel=1e-9)


def test_hn_nce_without_hardness_is_infonce_or_dcl():
    q, k = sides()
    pairs = crowded(q, k)[0]
    same(HNNCE(temperature=0.2, hardness=0.0)(pairs), InfoNCE(temperature=0.2)(pairs), q, k)
    same(HNNCE(temperature=0.2, hardness=0.0, positive_share=0.0)(pairs), DCL(temperature=0.2)(pairs), q, k)


def test_hn_nce_of_the_catalogues_probe():
    q, k = probe()
    loss = HNNCE(temperature=0.5, hardness=0.5)
    assert loss(Pairs.aligned(q, k)).mean().item() == pytest.approx(1.5477835288, rel=1e-9)
    assert loss(Pairs.aligned(k, q)).mean().item() == pytest.approx(1.6582304043, rel=1e-9)
    both = HNNCE(temperature=0.5, hardness=0.5, two_sided=True)(Pairs.aligned(q, k)).mean()
    assert 2 * both.item() == pytest.approx(3.2060139331, rel=1e-9)


def test_hn_nce_of_great_hardness_sees_the_hardest_negative_alone():
    q, k = sides()
    s = (q @ k.T / 0.2).detach()
    hardest = s.masked_fill(torch.eye(7, dtype=torch.bool), -torch.inf).amax(1)
    want = torch.logaddexp(s.diagonal(), hardest + math.log(6)) - s.diagonal()
    torch.testing.assert_close(HNNCE(temperature=0.2, hardness=500.0)(Pairs.aligned(q, k)).detach(), want, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("prior", "beta"), [(0.1, 0.0), (0.1, 1.0), (0.6, 0.0)])
def test_debiased_by_a_loop_floor_included(prior, beta):
    q, k = sides()
    pairs, scores, keep = crowded(q, k)
    got = Debiased(temperature=0.5, class_prior=prior, hardness=beta)(pairs)
    floored = 0
    for i in range(7):
        e = (scores[i] / 0.5).exp().tolist()
        others = [j for j in range(11) if j != i and keep[i, j]]
        mean = sum(e[j] ** (1 + beta) for j in others) / sum(e[j] ** beta for j in others)
        rest, floor = (mean - prior * e[i]) / (1 - prior), math.exp(-1 / 0.5)
        floored += rest < floor
        assert got[i].item() == pytest.approx(math.log(1 + len(others) * max(rest, floor) / e[i]), rel=1e-9)
    assert (floored > 0) == (prior == 0.6)
    assert all(g.isfinite().all() for g in torch.autograd.grad(got.sum(), [q, k]))


def test_debiased_without_prior_is_hn_nce():
    q, k = sides()
    pairs = crowded(q, k)[0]
    same(Debiased(temperature=0.5, class_prior=0.0, hardness=0.7)(pairs), HNNCE(temperature=0.5, hardness=0.7)(pairs), q, k)


def test_focal_infonce_of_the_catalogues_probe_and_of_focus_zero():
    q, k = probe()
    value = lambda focus: FocalInfoNCE(temperature=0.1, focus=focus)(Pairs.aligned(q, k)).mean().item()  # noqa: E731
    assert value(0.0) == pytest.approx(2.5823492983, rel=1e-9) and value(2.0) == pytest.approx(2.1720918778, rel=1e-9)
    q, k = sides()
    pairs = crowded(q, k)[0]
    same(FocalInfoNCE(temperature=0.2, focus=0.0)(pairs), InfoNCE(temperature=0.2)(pairs), q, k)


def test_the_gradient_of_an_easy_row_falls_with_its_focal_factor():
    """Row 147: the ratio to cross-entropy's gradient tends to (1 - p)^focus (1 + focus) as p nears 1; small either way."""
    q = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    k = q.clone().requires_grad_()
    grads = [torch.autograd.grad(loss(Pairs.aligned(q, k))[0], k)[0].norm() for loss in (FocalInfoNCE(0.2, 2.0), InfoNCE(0.2))]
    miss = 1 / (1 + math.exp(5))
    assert (grads[0] / grads[1]).item() == pytest.approx(3 * miss**2, rel=0.05)


def test_margins_by_cross_entropy_with_a_changed_diagonal():
    q, k = sides()
    s, eye = q @ k.T, torch.eye(7, dtype=torch.bool)
    taken = cross_entropy((s - 0.3 * eye) / 0.2, torch.arange(7), reduction="none")
    same(AdditiveMargin(temperature=0.2, margin=0.3)(Pairs.aligned(q, k)), taken, q, k)
    turned = torch.where(eye, (s.diagonal().acos() + 0.3).cos().diag(), s)
    same(
        AngularMargin(temperature=0.2, margin=0.3)(Pairs.aligned(q, k)),
        cross_entropy(turned / 0.2, torch.arange(7), reduction="none"),
        q,
        k,
    )


def test_margins_of_zero_are_infonce():
    q, k = sides()
    pairs = crowded(q, k)[0]
    for loss in (AdditiveMargin(0.2, 0.0), AngularMargin(0.2, 0.0)):
        same(loss(pairs), InfoNCE(temperature=0.2)(pairs), q, k)


def test_past_the_turn_an_angular_margin_goes_on_falling():
    angles = torch.linspace(2.5, 3.14, 60, dtype=torch.float64)
    q = torch.stack([angles.cos(), angles.sin()], 1)
    k = torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(60, 2)
    values = torch.stack(
        [AngularMargin(1.0, 0.5)(Pairs.aligned(a[None], b[None]).with_negatives(-b[None])) for a, b in zip(q, k, strict=True)]
    )
    assert bool((values.diff(dim=0) > 0).all())
    with pytest.raises(DataError, match="scores must be cosines"):
        AngularMargin()(Pairs.aligned(2 * torch.eye(2), torch.eye(2)))


def test_macl_has_dcls_gradient_and_its_own_value():
    q, k = sides()
    pairs, scores, keep = crowded(q, k)
    got = MACL(temperature=0.2, growth=0.0)(pairs)
    want = torch.autograd.grad(DCL(temperature=0.2)(pairs).sum(), [q, k])
    for a, b in zip(torch.autograd.grad(got.sum(), [q, k]), want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)
    for i in range(7):
        e = (scores[i] / 0.2).exp().detach()
        p = float(e[i] / e[keep[i]].sum())
        assert got[i].item() == pytest.approx(-math.log(p) / (1 - p), rel=1e-9)


def test_macls_temperature_follows_alignment_without_a_gradient():
    q, k = sides()
    now = float((q * k).detach().sum(1).mean())
    adapted, fixed = MACL(temperature=0.2, growth=0.5, alignment=0.1), MACL(temperature=0.2 * (1 + 0.5 * (now - 0.1)), growth=0.0)
    torch.testing.assert_close(adapted(Pairs.aligned(q, k)), fixed(Pairs.aligned(q, k)))
    for a, b in zip(*(torch.autograd.grad(loss(Pairs.aligned(q, k)).sum(), [q, k]) for loss in (adapted, fixed)), strict=True):
        torch.testing.assert_close(a, b)
    twice = MACL(temperature=0.1, growth=1.0)(Pairs.aligned(q, q))  # alignment 1
    torch.testing.assert_close(twice, MACL(temperature=0.2, growth=0.0)(Pairs.aligned(q, q)))


def test_macl_of_a_certain_row_is_finite():
    eye = torch.eye(3).requires_grad_()
    value = MACL(temperature=1e-3, growth=0.0)(Pairs.aligned(eye, eye))
    torch.testing.assert_close(value, torch.ones(3))
    assert bool(torch.autograd.grad(value.sum(), eye)[0].isfinite().all())
    with pytest.raises(DegenerateBatchError, match="temperature must stay above 0"):
        MACL(growth=1.0)(Pairs.aligned(torch.eye(3), -2 * torch.eye(3)))


def test_cwcl_is_cross_entropy_to_targets_from_the_keys():
    q, k = sides()
    for power in (1.0, 3.0):
        with torch.no_grad():
            w = ((1 + k @ k.T) / 2) ** power
        same(
            CWCL(temperature=0.2, power=power)(Pairs.aligned(q, k)),
            cross_entropy(q @ k.T / 0.2, w / w.sum(1, keepdim=True), reduction="none"),
            q,
            k,
        )


def test_cwcl_of_equal_keys_is_least_at_equal_scores_and_of_great_power_is_infonce():
    q, k = sides()
    alike = torch.ones(7, 5, dtype=torch.float64)
    torch.testing.assert_close(CWCL()(Pairs.aligned(q, alike)).detach(), torch.full((7,), math.log(7)).double())
    same(CWCL(temperature=0.2, power=1e4)(Pairs.aligned(q, k)), InfoNCE(temperature=0.2)(Pairs.aligned(q, k)), q, k)


def test_cwcl_of_orthogonal_keys_still_shares_half_of_the_weight_with_every_other():
    q, k = sides(d=7)[0], torch.eye(7, dtype=torch.float64)
    target = (torch.eye(7) + 1).double() / 8  # (1 at its own, 0.5 elsewhere) / 4
    same(CWCL(temperature=0.2)(Pairs.aligned(q, k)), cross_entropy(q / 0.2, target, reduction="none"), q)


def taught(q, k, tq, tk, score=None):
    return Pairs(q, k, Diagonal(0, len(q)), channels={"teacher": Channel(tq, tk, score or Cosine())})


@pytest.mark.parametrize("two_sided", [False, True])
def test_distilled_is_cross_entropy_to_the_teachers_softmax(two_sided):
    q, k, tq, tk = *sides(), *sides(seed=1)
    got = Distilled(temperature=0.2, teacher_temperature=0.3, share=0.4, two_sided=two_sided)(taught(q, k, tq, tk))
    one = []
    for s, u in ((q @ k.T, tq @ tk.T), (k @ q.T, tk @ tq.T)):
        target = 0.4 * (u.detach() / 0.3).softmax(1) + 0.6 * torch.eye(7, dtype=torch.float64)
        one.append(cross_entropy(s / 0.2, target, reduction="none"))
    same(got, (one[0] + one[1]) / 2 if two_sided else one[0], q, k)


def test_a_student_that_is_its_teacher_learns_nothing_more_from_it():
    """Row 200: at share 1 the gradient vanishes where both see the same; at share 0 it is InfoNCE."""
    q, k = sides()
    alone = Distilled(temperature=0.2, teacher_temperature=0.2, share=1.0)(taught(q, k, q.detach(), k.detach()))
    assert all(g.abs().max() < 1e-12 for g in torch.autograd.grad(alone.sum(), [q, k]))
    same(Distilled(temperature=0.2, share=0.0)(taught(q, k, k, q)), InfoNCE(temperature=0.2)(Pairs.aligned(q, k)), q, k)
    with pytest.raises(DataError, match="must have a channel 'teacher'"):
        Distilled()(Pairs.aligned(q, k))


def test_the_teachers_share_rises_from_nothing_over_the_ramp():
    pairs = taught(*sides(), *sides(seed=1))
    loss = Distilled(temperature=0.2, share=0.4, ramp=4)
    for share in (0.0, 0.1, 0.2, 0.3, 0.4, 0.4):
        torch.testing.assert_close(loss(pairs), Distilled(temperature=0.2, share=share)(pairs))
        loss(pairs)  # comparing is no step
        loss.after_step()
    with pytest.raises(ParameterError, match="ramp must be a whole number of at least 0"):
        Distilled(ramp=1.5)


@pytest.mark.parametrize("loss", [DCLW, FourBlock, HNNCE, Debiased, FocalInfoNCE, AdditiveMargin, AngularMargin, MACL, CWCL, Distilled])
def test_a_single_key_and_a_temperature_of_zero_are_refused(loss):
    with pytest.raises(DegenerateBatchError, match="at least one negative"):
        loss()(Pairs.aligned(torch.eye(1), torch.eye(1)))
    with pytest.raises(ParameterError, match="temperature must be a number above 0, got 0"):
        loss(temperature=0)


@pytest.mark.parametrize("loss", [DCL(), DCLW(), MACL(), HNNCE(positive_share=0.0)])
def test_a_row_whose_others_are_all_copies_is_refused_where_the_loss_would_be_unbounded(loss):
    with pytest.raises(DegenerateBatchError, match="no negative that counts"):
        loss(Pairs.aligned(torch.eye(3), torch.eye(3), key_ids=torch.zeros(3, dtype=torch.long)))


@pytest.mark.parametrize("loss", [InfoNCE(), Debiased(), FocalInfoNCE(), HNNCE(), AdditiveMargin()])
def test_a_row_without_negatives_that_count_is_picked_for_sure(loss):
    q = torch.eye(3).requires_grad_()
    values = loss(Pairs.aligned(q, torch.eye(3), key_ids=torch.tensor([1, 1, 1])))
    assert values.tolist() == [0, 0, 0] and not torch.autograd.grad(values.sum(), q)[0].any()


def test_a_mixture_of_kernels_is_normalised_as_a_sum():
    """The paper's form of row 172, one softmax over the sum of kernels, and its reductions."""
    q, k = sides()
    apart = torch.cdist(q, k)
    kernels = 0.3 * (-apart / 0.5).exp() + 0.7 * (-apart.square() / 0.5).exp()
    mixed = Pairs.aligned(q, k, score=KernelMixture(powers=(1.0, 2.0), shares=(0.3, 0.7), temperature=0.5))
    same(InfoNCE(temperature=1.0)(mixed), (kernels.sum(1) / kernels.diagonal()).log(), q, k)
    gaussian = Pairs.aligned(q, k, score=KernelMixture(powers=(2.0,), shares=(1.0,), temperature=0.5))
    torch.testing.assert_close(InfoNCE(temperature=1.0)(gaussian), InfoNCE(temperature=0.25)(Pairs.aligned(q, k)))  # |q - k|^2 = 2 - 2 cos
    with pytest.raises(ParameterError, match="shares must be one a power, 2 numbers"):
        KernelMixture(powers=(1.0, 2.0), shares=(1.0,))


def test_at_a_small_distance_the_pull_of_a_power_is_bounded_from_one_on():
    """arXiv:2303.15103: power 2 pulls as the distance, power 1 alike, less than 1 ever harder; at no distance nothing is pulled."""
    gen = torch.Generator().manual_seed(0)
    k = normalize(torch.randn(4, 5, generator=gen, dtype=torch.float64), dim=1)
    away = torch.randn(4, 5, generator=gen, dtype=torch.float64)

    def pull(power, distance):
        q = (k + distance * normalize(away, dim=1)).requires_grad_()
        score = Pairs.aligned(q, k, score=DistancePower(power=power)).positive_scores().sum()
        return torch.autograd.grad(score, q)[0].norm(dim=1)

    for power in (0.5, 1.0, 2.0):
        for distance in (1e-2, 1e-4):
            want = torch.full((4,), power * distance ** (power - 1), dtype=torch.float64)
            torch.testing.assert_close(pull(power, distance), want, rtol=1e-4, atol=0)
        assert not pull(power, 0.0).any()


def test_gaussian_infonce_is_a_laplacian_energy_and_a_log_partition():
    """Row 172: L = tr(Z' L Z) / t + sum_i log sum_{j != i} K_ij, with the Laplacian of the graph of positives, doubled."""
    a, b = sides(5)
    z = torch.stack([a, b], 1).flatten(0, 1)
    pairs = Pairs.aligned(a, b, score=DistancePower(power=2.0)).both_views()
    value = InfoNCE(temperature=0.5)(pairs).sum()
    graph = torch.zeros(10, 10, dtype=torch.float64)
    at = torch.arange(10)
    graph[at, at ^ 1] = 1
    weights = graph + graph.T
    laplacian = weights.sum(1).diag() - weights
    kernel = (-torch.cdist(z, z).square() / 0.5).exp().masked_fill(torch.eye(10, dtype=torch.bool), 0.0)
    torch.testing.assert_close(value, (z.T @ laplacian @ z).trace() / 0.5 + kernel.sum(1).log().sum(), rtol=1e-10, atol=1e-10)
