"""Voted pairs: votes by hand, both losses by loops, and what the paper's limits are."""

import pytest
import torch
from torch.nn.functional import normalize

from dipole.core.encoded import Encoded
from dipole.core.errors import DataError
from dipole.regularizers import VotedPairs
from dipole.regularizers.voting import votes


def given(n=9, parts=4, d=5, classes=3, seed=0):
    gen = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=gen, dtype=torch.float64)  # noqa: E731
    return draw(n, d), draw(n, parts, d), draw(n, classes), torch.tensor([0, 0, 1, 1, 2, -1, -1, -1, -1])[:n]


def by_loops(pooled, parts, labels, rank):
    """For the items without a label: nearest, and whether the parts agree."""
    n, k = parts.shape[:2]
    local = torch.zeros(n, n, dtype=torch.float64)
    for i in range(n):
        lengths = parts[i].norm(dim=1) / parts[i].norm(dim=1).norm()
        for j in range(n):
            local[i, j] = sum(lengths[c] * torch.cosine_similarity(parts[i, c], parts[j, c], dim=0) for c in range(k))
    found = {}
    for i in (labels < 0).nonzero()[:, 0].tolist():
        j = max((j for j in range(n) if j != i), key=lambda j: float(torch.cosine_similarity(pooled[i], pooled[j], dim=0)))
        close, bar = (sorted(line.tolist(), reverse=True)[rank - 1] for line in (local[i], local[:, j]))
        found[i] = (j, close >= bar)
    return found


def test_votes_by_loops():
    accepted = 0
    for seed in range(6):
        pooled, parts, _, labels = given(seed=seed)
        got = votes(pooled, parts, labels, 2, torch.Generator().manual_seed(1))
        for i, (j, agreed) in by_loops(pooled, parts, labels, 2).items():
            assert bool(got.accepted[i]) == agreed and int(got.partner[i]) == (j if agreed else i)
            accepted += agreed
        assert got.partner[:5].tolist() == [1, 0, 3, 2, 4] and got.accepted[:5].tolist() == [True] * 4 + [False]
    assert 0 < accepted < 24


def test_the_terms_by_loops():
    pooled, parts, logits, labels = given()
    logits.requires_grad_()
    side = Encoded(pooled, parts, logits=logits, meta={"label": labels})
    chance = VotedPairs().chance.next()
    found = votes(pooled, parts, labels, 2, chance)
    even = torch.rand(9, 3, generator=chance, dtype=torch.float64)
    q = (logits - (-even.log()).log()).softmax(1).detach()
    p = logits.softmax(1)
    agree = sum(-(p[i] * p[found.partner[i]]).sum().log() for i in range(9)) / 9
    free = [i for i in range(9) if labels[i] < 0]
    sure = [p[i, q[i].argmax()].detach() * found.accepted[i] for i in free]
    taught = sum(-w * (q[i] * p[i].log()).sum() for i, w in zip(free, sure, strict=True)) / len(free)
    want = 0.3 * agree + 0.7 * taught
    got = VotedPairs(pair=0.3, soft=0.7).over_encoded({"queries": side})
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(torch.autograd.grad(got, logits)[0], torch.autograd.grad(want, logits)[0])


def test_sure_and_equal_costs_nothing_sure_and_different_is_bounded():
    pooled, parts, _, _ = given(n=2)
    told = torch.tensor([1, 1])
    for logits, want in (([[99.0, 0], [99.0, 0]], 0.0), ([[99.0, 0], [0, 99.0]], 16.118)):
        side = Encoded(pooled, parts, logits=torch.tensor(logits), meta={"label": told})
        assert float(VotedPairs(pair=1.0).over_encoded({"queries": side})) == pytest.approx(want, abs=1e-3)


def test_two_items_are_each_others_only_companion():
    pooled, parts, logits, _ = given(n=2)
    free = torch.tensor([-1, -1])
    got = votes(pooled, parts, free, 2, torch.Generator())
    assert got.accepted.all() and got.partner.tolist() == [1, 0]
    with pytest.raises(DataError, match="returns none"):
        VotedPairs().over_encoded({"queries": Encoded(pooled, logits=logits, meta={"label": free})})


def test_chance_falls_anew_each_step_and_alike_on_every_process():
    pooled, parts, logits, labels = given()
    side = {"queries": Encoded(normalize(pooled), parts, logits=logits, meta={"label": labels})}
    one, other = VotedPairs(), VotedPairs()
    first = one.over_encoded(side)
    assert torch.equal(first, other.over_encoded(side)) and not torch.equal(first, one.over_encoded(side))
