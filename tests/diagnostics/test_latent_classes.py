"""The mean classifier, collisions and spread within classes: enumerations, closed forms, and the theory's two claims on data."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import normalize

from dipole import Pairs
from dipole.core.errors import DataError, ParameterError
from dipole.diagnostics import class_deviation, collision_probability, mean_classifier
from dipole.losses import HardestHinge, InfoNCE


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_mean_classifier_by_a_loop() -> None:
    x, test = drawn(40, 5), drawn(30, 5, seed=1)
    labels, true = torch.arange(40) % 4 + 7, torch.arange(30) % 4 + 7
    means = {c: x[labels == c].mean(0) for c in range(7, 11)}
    right = [max(means, key=lambda c: float(z @ means[c])) == int(c) for z, c in zip(test, true, strict=True)]
    assert mean_classifier(x, labels, test, true) == pytest.approx(sum(right) / 30)


def test_collapsed_orthogonal_classes_are_told_apart_and_noise_is_not() -> None:
    eye = torch.eye(5).repeat(4, 1)
    labels = torch.arange(5).repeat(4)
    assert mean_classifier(eye, labels, eye, labels) == 1
    assert mean_classifier(eye, labels, eye, labels, ways=2) == 1
    noise = mean_classifier(drawn(400, 8), torch.arange(400) % 5, drawn(2000, 8, seed=1), torch.arange(2000) % 5)
    assert abs(noise - 0.2) < 0.05
    two = mean_classifier(drawn(400, 8), torch.arange(400) % 5, drawn(2000, 8, seed=1), torch.arange(2000) % 5, ways=2)
    assert abs(two - 0.5) < 0.05 and two.error > 0


def test_collision_probability_by_drawing() -> None:
    labels = torch.tensor([0] * 5 + [1] * 3 + [2] * 2)
    for k in (1, 3, 10):
        gen = torch.Generator().manual_seed(k)
        anchor = labels[torch.randint(0, 10, (20000,), generator=gen)]
        others = labels[torch.randint(0, 10, (20000, k), generator=gen)]
        seen = float((others == anchor[:, None]).any(1).double().mean())
        assert collision_probability(labels, k) == pytest.approx(seen, abs=0.01)
    uniform = torch.arange(8)
    assert collision_probability(uniform, 5) == pytest.approx(1 - (1 - 1 / 8) ** 5)


def test_class_deviation_is_the_largest_direction_of_each_class() -> None:
    x, labels = drawn(60, 4), torch.arange(60) % 3
    want = 0.0
    for c in range(3):
        mine = x[labels == c]
        cov = torch.cov(mine.T, correction=0)
        want += 4 / 3 * math.sqrt(float(torch.linalg.eigvalsh(cov)[-1])) * float(mine.norm(dim=1).mean())
    assert class_deviation(x, labels) == pytest.approx(want)
    assert class_deviation(torch.eye(3).repeat(2, 1), torch.arange(3).repeat(2)) == pytest.approx(0)


def test_blocks_lower_the_loss_on_every_sample() -> None:
    """Jensen: the loss on block means is never above the mean of the losses on the blocks' points."""
    q, keys = drawn(6, 4), drawn(6, 5, 4, seed=1)
    for loss in (InfoNCE(temperature=1.0), HardestHinge(margin=1.0)):
        blocked = loss(Pairs.aligned(q, keys.mean(1)))
        each = torch.stack([loss(Pairs.aligned(q, keys[:, b])) for b in range(5)]).mean(0)
        assert bool((blocked <= each + 1e-12).all()) and bool((blocked < each - 1e-6).any())


@pytest.mark.parametrize("seed", range(4))
def test_the_contrastive_loss_bounds_the_mean_classifiers(seed: int) -> None:
    """Lemma 4.3 for one negative and the hinge, every triple enumerated: L_un >= (1 - tau) L_mu + tau, for any encoder."""
    f = drawn(4, 3, 6, seed=seed) + drawn(4, 1, 6, seed=seed + 10)  # 4 classes of 3 points
    tau = collision_probability(torch.arange(4))
    hinge = lambda v: (1 - v).relu()  # noqa: E731
    s = torch.einsum("cid,ejd->ciej", f, f)  # every point with every point
    own = torch.stack([s[c, :, c] for c in range(4)])  # (class, x, x+)
    unsupervised = hinge(own[:, :, :, None, None] - s[:, :, None]).mean()
    means = f.mean(1)
    apart = torch.einsum("cid,ced->cie", f, means[:, None] - means[None])
    mu = hinge(apart)[~torch.eye(4, dtype=torch.bool)[:, None].expand(4, 3, 4)].mean()
    assert tau == 0.25 and unsupervised >= (1 - tau) * mu + tau
    flat = torch.ones_like(f)  # where all is one point the bound is met exactly
    assert hinge(torch.zeros(1)).mean() == (1 - tau) * 1 + tau and class_deviation(flat.flatten(0, 1), torch.arange(12)) == 0


@pytest.mark.parametrize("seed", [4, 5, 6])
def test_many_negatives_collide_and_hurt_and_blocks_repair_it(seed: int) -> None:
    """Three classes: of 32 negatives some are the anchor's own class, and the hinge pushes the hardest one away; of 40 classes, hardly."""
    few, many, blocks = (hinged(seed, negatives, size) for negatives, size in ((4, 1), (32, 1), (32, 4)))
    wider = hinged(seed, 32, 1, anchors=128)  # as many points a step as blocks of four take
    assert few > many + 0.08 and blocks > max(many, wider) + 0.02, (few, many, blocks, wider)
    assert hinged(seed, 32, 1, classes=40, mixtures=1) > hinged(seed, 4, 1, classes=40, mixtures=1) - 0.03


def hinged(seed: int, negatives: int, size: int, classes: int = 3, mixtures: int = 3, anchors: int = 32) -> float:
    """The mean classifier on linear maps of Gaussian classes, over several mixtures of them, trained by the hinge on the largest of
    1 - f(x) . (mean f(x+) - mean f(x-)): every anchor has negatives of its own, in blocks of ``size`` points."""
    gen = torch.Generator().manual_seed(seed)
    centres = 0.5 * torch.randn(mixtures, classes, 40, generator=gen)
    weights = (torch.randn(mixtures, 40, 8, generator=gen) / 40**0.5).requires_grad_()

    def encoded(c: torch.Tensor) -> torch.Tensor:  # (mixtures, ...) -> (mixtures, ..., 8), of length 2
        flat = c.flatten(1)
        points = centres[torch.arange(mixtures)[:, None], flat] + torch.randn(*flat.shape, 40, generator=gen)
        return 2 * normalize(points @ weights, dim=-1).view(*c.shape, 8)

    step = torch.optim.Adam([weights], lr=2e-2)
    for _ in range(200):
        own = torch.randint(classes, (mixtures, anchors), generator=gen)
        other = torch.randint(classes, (mixtures, anchors, negatives), generator=gen)
        anchor = encoded(own)
        near = (anchor * encoded(own[..., None].expand(-1, -1, size)).mean(2)).sum(-1)
        far = torch.einsum("mnd,mnkd->mnk", anchor, encoded(other[..., None].expand(-1, -1, -1, size)).mean(3))
        step.zero_grad()
        (1 - near + far.amax(2)).relu().mean(1).sum().backward()
        step.step()
    c = torch.arange(classes).repeat(100)
    with torch.no_grad():
        train, test = encoded(c.expand(mixtures, -1)), encoded(c.expand(mixtures, -1))
        return sum(float(mean_classifier(a, c, b, c)) for a, b in zip(train, test, strict=True)) / mixtures


def test_what_is_refused() -> None:
    x, labels = drawn(6, 3), torch.arange(6) % 2
    with pytest.raises(DataError, match=r"every test class must occur in training \(got 5\)"):
        mean_classifier(x, labels, x, torch.tensor([0, 1, 0, 1, 5, 0]))
    with pytest.raises(ParameterError, match="ways must be a whole number from 2 to the 2 classes"):
        mean_classifier(x, labels, x, labels, ways=3)
    with pytest.raises(ParameterError, match="negatives must be a whole number of at least 1"):
        collision_probability(labels, 0)
    with pytest.raises(DataError, match="labels must be one whole number a vector"):
        class_deviation(x, labels[:5])
