"""Taking out what was learned: the authors' numbers, closed forms, and a class of digits forgotten without labels."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from dipole import Pairs
from dipole.core.errors import DataError, DegenerateBatchError
from dipole.losses import LAFAlignment, LAFExtraction
from tests.golden_case import Case


def split(kept, kept_to, gone, gone_to):
    """Kept items first, then those to forget."""
    forget = torch.arange(len(kept) + len(gone)) >= len(kept)
    return replace(Pairs.aligned(torch.cat([kept, gone]), torch.cat([kept_to, gone_to])), rows={"forget": forget})


def test_both_halves_are_the_authors():
    case = Case("laf__extractor-losses__base")
    e_r, e_f = case.leaves("e_r", "e_f")
    away = LAFExtraction()(split(e_r, case.array("in_rec_r"), e_f, case.array("in_rec_f"))).sum()
    stay = LAFAlignment(temperature=5.0)(split(e_r, case.array("in_e_r0"), e_f, case.array("in_e_f0"))).sum()
    torch.testing.assert_close(away, case.array("out_unlearn"))
    torch.testing.assert_close(stay, case.array("out_align"))
    case.agrees(away + stay, e_r=e_r, e_f=e_f)


def test_where_nothing_moved_the_alignment_rests():
    e = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    value = LAFAlignment(temperature=5.0)(split(e[:4], e[:4].detach(), e[4:], e[4:].detach())).sum()
    assert math.isclose(value.item(), -4 * math.log(3), rel_tol=1e-12)
    assert torch.autograd.grad(value, e)[0].abs().max() < 1e-12


def test_the_pull_of_an_outlier_is_bounded():
    e = torch.tensor([[0.0], [0.0]], dtype=torch.float64)
    far = [LAFExtraction()(split(e[:1], e[:1] + d, e[1:], e[1:] + d)) for d in (0.0, 1.0, 100.0)]
    assert [round(v[0].item(), 3) for v in far] == [1.0, round(math.exp(0.5), 3), 2.718]
    assert all(v[1] == -v[0] for v in far)


@pytest.mark.parametrize("loss", [LAFAlignment(), LAFExtraction()], ids=lambda x: type(x).__name__)
def test_what_is_refused(loss):
    pairs = Pairs.aligned(torch.eye(3), torch.eye(3))
    with pytest.raises(DataError, match="lack 'forget'"):
        loss(pairs)
    for all_or_none in (True, False):
        with pytest.raises(DegenerateBatchError, match="rows with forget and rows without"):
            loss(replace(pairs, rows={"forget": torch.full((3,), all_or_none)}))


def fitted(module, loss_of, steps, rate):
    step = torch.optim.Adam(module.parameters(), lr=rate)
    for i in range(steps):
        step.zero_grad()
        loss_of(module, i).backward()
        step.step()
    return module


def autoencoder(features):
    """The variational autoencoder of a set of features; used by its mean after training."""
    made = nn.ModuleDict({"in": nn.Linear(features.shape[1], 32), "mean": nn.Linear(32, 8), "log": nn.Linear(32, 8)})
    made["out"] = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, features.shape[1]))

    def loss(made, i):
        hidden = made["in"](features).relu()
        mean, log = made["mean"](hidden), made["log"](hidden).clamp(-10, 10)
        found = made["out"](mean + (log / 2).exp() * torch.randn_like(mean))
        kl = -0.5 * (1 + log - mean.square() - log.exp()).sum(1).mean()
        return (found - features).square().sum(1).mean() + 0.025 * kl

    fitted(made, loss, 200, 2e-3).requires_grad_(False)
    return lambda x: made["out"](made["mean"](made["in"](x).relu()))


@pytest.mark.parametrize("seed", range(3))
def test_laf_forgets_a_class_without_labels(seed):
    """Digits: after unlearning class 3 the classifier no longer finds it, and still finds the others."""
    from sklearn.datasets import load_digits

    torch.manual_seed(seed)
    x, y = (torch.from_numpy(a) for a in load_digits(return_X_y=True))
    x = x.float() / 16
    train, test = torch.arange(len(x)) < 1200, torch.arange(len(x)) >= 1200
    body, head = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32)), nn.Linear(32, 10)
    whole = nn.Sequential(body, head)
    fitted(whole, lambda m, i: nn.functional.cross_entropy(m(x[train]), y[train]), 150, 5e-3)
    old = copy.deepcopy(body).requires_grad_(False)
    kept, gone = x[train & (y != 3)], x[train & (y == 3)]
    of_kept, of_gone = autoencoder(old(kept)), autoencoder(old(gone))

    def accuracy(mask):
        return float((whole(x[test & mask]).argmax(1) == y[test & mask]).double().mean())

    before = accuracy(y == 3), accuracy(y != 3)
    extract, align = (torch.optim.Adam(body.parameters(), lr=rate) for rate in (2e-3, 3e-3))
    for _ in range(60):
        for step, loss in ((extract, LAFExtraction()), (align, LAFAlignment(temperature=5.0))):
            some = torch.randperm(len(kept))[: len(gone)]
            e_r, e_f = body(kept[some]), body(gone)
            to = (of_kept(e_r), of_gone(e_f)) if step is extract else (old(kept[some]), old(gone))
            step.zero_grad()
            loss(split(e_r, to[0], e_f, to[1])).mean().backward()
            step.step()
    after = accuracy(y == 3), accuracy(y != 3)
    assert before[0] > 0.75 and before[1] > 0.85
    assert after[0] < 0.1 and after[1] > before[1] - 0.12, (before, after)
