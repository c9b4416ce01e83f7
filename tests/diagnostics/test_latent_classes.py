"""The mean classifier, collisions and spread within classes: enumerations, closed forms, and the theory's two claims on data."""

from __future__ import annotations

import math

import pytest
import torch

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
