"""(sigma, delta) concentration against all subsets, and the theorem's other two factors against known configurations."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from dipole import Pairs
from dipole.core.errors import DataError, ParameterError
from dipole.diagnostics import alignment_failure, class_divergence, concentration_cost, mean_classifier, sigma_delta
from dipole.losses import InfoNCE


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def largest(views: torch.Tensor, delta: float) -> int:
    """The largest set of items all within delta, by trying every set."""
    n = len(views)
    near = [[min(float((a - b).norm()) for a in views[i] for b in views[j]) <= delta for j in range(n)] for i in range(n)]
    for size in range(n, 0, -1):
        for chosen in itertools.combinations(range(n), size):
            if all(near[i][j] for i, j in itertools.combinations(chosen, 2)):
                return size
    return 0


def test_against_every_subset() -> None:
    for seed in range(6):
        views = drawn(9, 3, 2, seed=seed)
        deltas = [0.1, 0.4, 0.8, 1.5]
        found = sigma_delta(views, torch.zeros(9, dtype=torch.int64), deltas)
        assert found == pytest.approx([largest(views, d) / 9 for d in deltas])


def test_the_worst_class_counts_and_order_does_not() -> None:
    views = torch.cat([torch.zeros(5, 2, 1), torch.arange(4.0)[:, None, None].expand(4, 2, 1)])
    labels = torch.tensor([0] * 5 + [1] * 4)
    assert sigma_delta(views, labels, [3.0, 0.0, 1.0]) == [1.0, 0.25, 0.5]


def test_more_views_concentrate_and_delta_only_helps() -> None:
    centre, labels = drawn(40, 1, 4), torch.arange(40) % 2
    noise = drawn(40, 8, 4, seed=1)
    deltas = [0.2, 0.5, 1.0, 2.0, 20.0]
    few, many = (sigma_delta(centre + noise[:, :a], labels, deltas) for a in (1, 8))
    assert few == sorted(few) and many == sorted(many)
    assert all(b >= a for a, b in zip(few, many, strict=True)) and many[2] > few[2]
    assert few[-1] == many[-1] == 1


def test_alignment_failure() -> None:
    same = drawn(10, 1, 3).expand(10, 4, 3)
    assert alignment_failure(same, 1e-9) == 0
    apart = drawn(50, 4, 3)
    found = [alignment_failure(apart, e) for e in (0.1, 0.5, 1.0, 1.5, 2.0)]
    assert found == sorted(found, reverse=True) and found[0] == 1 and found[-1] == 0


def test_class_divergence() -> None:
    labels = torch.tensor([3, 3, 5, 5])
    x = torch.tensor([[1.0, 1.0], [1, -1], [-1, 1], [-1, -1]])
    found = class_divergence(x, labels)  # centres at +-1/sqrt(2)
    assert found.closest == pytest.approx(-0.5) and found.spread == pytest.approx(0.5) and found.error == 0
    assert found.centres.tolist() == [[pytest.approx(0.5), pytest.approx(-0.5)], [pytest.approx(-0.5), pytest.approx(0.5)]]
    collapsed = class_divergence(torch.eye(4).repeat(3, 1), torch.arange(4).repeat(3))
    assert (collapsed.closest, collapsed.spread, collapsed.error) == (0, 0, 0)
    rho = concentration_cost(sigma=1, delta=0, failure=0, epsilon=0, smallest_class=0.25, lipschitz=1)
    assert rho == 0 and collapsed.closest < collapsed.needs(rho) == 1


def test_the_bound_holds_where_its_condition_does() -> None:
    """Blobs on the sphere, views with noise: wherever the condition holds, the nearest-centre error is at most 1 - sigma + R_eps."""
    held = 0
    for spread in (0.01, 0.02, 0.1, 0.5):
        labels = torch.arange(60) % 3
        inputs = torch.eye(3, 5, dtype=torch.float64)[labels] + spread * drawn(60, 5)
        views = torch.nn.functional.normalize(inputs[:, None] + 0.005 * drawn(60, 4, 5, seed=1), dim=-1)
        sigma, delta, epsilon = sigma_delta(views, labels, [0.05])[0], 0.05, 0.05
        failure = alignment_failure(views, epsilon)
        divergence = class_divergence(views.mean(1), labels)
        rho = concentration_cost(sigma, delta, failure, epsilon, 1 / 3, 1.0)
        if divergence.closest < divergence.needs(rho):
            held += 1
            assert divergence.error <= 1 - sigma + failure
    assert held


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_concentration_and_not_alignment_decides_what_is_learned(seed: int) -> None:
    """Classes are closed curves; views move along them, little or far. The narrowest views align best, and tell classes apart worst."""
    narrow, middle, wide = (along_curves(seed, reach) for reach in (0.02, 0.1, 0.3))
    assert narrow[0] < middle[0] < wide[0] and narrow[1] == 0 < min(middle[1], wide[1])
    assert narrow[2] < middle[2] < wide[2] - 0.3 and wide[2] > 0.95, (narrow, middle, wide)


def along_curves(seed: int, reach: float) -> tuple[float, float, float]:
    """Views move by ``reach`` of half the curve: their sigma at delta 0.5, R_eps at 0.5 of an encoder that InfoNCE trained on them, and the
    accuracy of its nearest centre on points of the curves that were not seen."""
    gen = torch.Generator().manual_seed(seed)
    planes = torch.linalg.qr(torch.randn(6, 16, 4, generator=gen))[0]
    labels = torch.arange(6).repeat(40)
    turn = 2 * math.pi * torch.rand(240, generator=gen)

    def points(of: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
        return torch.einsum(
            "...f,...df->...d", torch.stack([angle.cos(), angle.sin(), (2 * angle).cos(), (2 * angle).sin()], -1), planes[of]
        )

    def views(number: int) -> torch.Tensor:
        moved = turn[:, None] + reach * math.pi * (2 * torch.rand(240, number, generator=gen) - 1)
        seen = points(labels[:, None].expand(-1, number), moved)
        return seen + 0.03 * torch.randn(seen.shape, generator=gen)

    torch.manual_seed(seed)
    layers = [nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8)]
    encoder = nn.Sequential(*layers)
    step = torch.optim.Adam(encoder.parameters(), lr=3e-3)
    for _ in range(120):
        step.zero_grad()
        InfoNCE(temperature=0.3, two_sided=True)(Pairs.aligned(*normalize(encoder(views(2)), dim=-1).unbind(1))).mean().backward()
        step.step()
    shown, held = views(8), points(labels, 2 * math.pi * torch.rand(240, generator=gen))
    with torch.no_grad():
        accuracy = mean_classifier(normalize(encoder(points(labels, turn)), dim=-1), labels, normalize(encoder(held), dim=-1), labels)
        return sigma_delta(shown, labels, [0.5])[0], alignment_failure(encoder(shown), 0.5), float(accuracy)


def test_bad_input_is_named() -> None:
    with pytest.raises(DataError, match=r"\(N, A, D\)"):
        sigma_delta(drawn(4, 3), torch.zeros(4, dtype=torch.int64), [1.0])
    with pytest.raises(ParameterError, match="deltas"):
        sigma_delta(drawn(4, 1, 3), torch.zeros(4, dtype=torch.int64), [])
    with pytest.raises(DataError, match="two views"):
        alignment_failure(drawn(4, 1, 3), 0.1)
