"""Losses with a learned head: class prototypes and matching."""

import math
from dataclasses import replace

import pytest
import torch

from dipole import Pairs
from dipole.core.errors import DataError, DegenerateBatchError
from dipole.core.ranks import Ring
from dipole.losses import ClassPrototypes, Matching


def items(n=5, d=4, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


def labelled(vectors, labels):
    labels = torch.tensor(labels)
    return Pairs(vectors, vectors, Pairs.aligned(vectors, vectors).positive, rows={"label": labels})


SEVERAL = [[0, 2, -1], [1, 1, -1], [-1, -1, -1], [2, 1, 0], [3, -1, -1]]  # several, a repeat, none, all, one


def test_class_prototypes_are_a_multi_label_classifier():
    z, loss = items(), ClassPrototypes(classes=4, dim=4, bias=-2.0).double()
    target = torch.zeros(5, 4, dtype=torch.float64)
    for row, labels in enumerate(SEVERAL):
        target[row, [c for c in labels if c >= 0]] = 1
    values = loss(labelled(z, SEVERAL))
    logits = z @ loss.weight.T + loss.offset
    want = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(1)
    torch.testing.assert_close(values, want)
    got = torch.autograd.grad(values.mean(), [z, loss.weight, loss.offset])
    for a, b in zip(got, torch.autograd.grad(want.mean(), [z, loss.weight, loss.offset]), strict=True):
        torch.testing.assert_close(a, b)
    # the catalogue's closed form of the gradient on a class
    torch.testing.assert_close(got[1], (logits.sigmoid() - target).T @ z / 5)


def test_an_item_without_labels_is_judged_absent_from_all():
    z, loss = items(), ClassPrototypes(classes=4, dim=4).double()
    logits = z @ loss.weight.T + loss.offset
    torch.testing.assert_close(loss(labelled(z, SEVERAL))[2], torch.nn.functional.softplus(logits[2]).sum())


def test_what_class_prototypes_refuse():
    loss = ClassPrototypes(classes=3, dim=4).double()
    with pytest.raises(DataError, match=r"labels must be below classes, 3 \(got 7\)"):
        loss(labelled(items(2), [0, 7]))
    with pytest.raises(DataError, match="lack 'label'"):
        loss(Pairs.aligned(items(2), items(2)))


def test_matching_by_a_loop():
    q, k = items(5), items(7, seed=1)
    loss = Matching(dim=4, hidden=6).double()
    got, s = loss(Pairs.aligned(q, k)), (q @ k.T).detach()
    odds = lambda u, v: loss.match(u[None], v[None]).item()  # noqa: E731
    for i in range(5):
        key = max((j for j in range(7) if j != i), key=lambda j, i=i: s[i, j])
        query = max((j for j in range(5) if j != i), key=lambda j, i=i: s[j, i])
        terms = -odds(q[i], k[i]), odds(q[i], k[key]), odds(q[query], k[i])
        assert math.isclose(got[i].item(), sum(math.log1p(math.exp(x)) for x in terms), rel_tol=1e-9)


def test_an_untrained_head_knows_nothing():
    loss = Matching(dim=4).double()
    torch.nn.init.zeros_(loss.head[2].weight)
    torch.nn.init.zeros_(loss.head[2].bias)
    torch.testing.assert_close(loss(Pairs.aligned(items(), items(seed=1))), torch.full((5,), 3 * math.log(2), dtype=torch.float64))


def test_a_matching_head_learns_what_a_dot_product_cannot_say():
    """Partners that are opposite in one dimension and equal in the others: cosine ranks them low, the head finds them."""
    torch.manual_seed(0)
    q = torch.randn(200, 4)
    k = q * torch.tensor([-3.0, 1.0, 1.0, 1.0])
    loss = Matching(dim=4, hidden=32)
    step = torch.optim.Adam(loss.parameters(), lr=1e-2)
    for _ in range(300):
        some = torch.randperm(160)[:32]
        step.zero_grad()
        loss(Pairs.aligned(q[some], k[some])).mean().backward()
        step.step()
    u, v = q[160:], k[160:]
    table = torch.stack([loss.match(u, v[j : j + 1].expand(40, 4)) for j in range(40)], dim=1)
    by_head = (table.argmax(1) == torch.arange(40)).double().mean()
    by_dot = ((u @ v.T).argmax(1) == torch.arange(40)).double().mean()
    assert by_head > 0.7 and by_dot < 0.2, (by_head, by_dot)


def test_what_matching_refuses():
    loss, eye = Matching(dim=3), torch.eye(3)
    with pytest.raises(DegenerateBatchError, match="at least one negative"):
        loss(Pairs.aligned(eye[:1], eye[:1]))
    with pytest.raises(DegenerateBatchError, match="some rows have no negative"):
        loss(Pairs.aligned(eye, eye, key_ids=torch.tensor([4, 4, 4])))
    with pytest.raises(DataError, match="gather instead"):
        loss(replace(Pairs.aligned(eye, eye), ring=Ring(0, (0, 3), (0, 3))))
