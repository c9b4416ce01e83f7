"""What more views of an item are worth to a bound on information: Gaussian views, whose information is known."""

from __future__ import annotations

import math

import torch

from dipole.core.stacked import stacked
from dipole.losses import PolyView, PolyViewSufficient
from dipole.pairwise.scores.bilinear import Bilinear

NOISE = 1.0  # variance of each view about its item, whose own is 1 a coordinate
WIDTH = 2


def information(others: int) -> float:
    """Nats between one view and the mean of so many others."""
    left = NOISE + NOISE / (others + NOISE)  # variance of a view once they are known
    return WIDTH / 2 * math.log((1 + NOISE) / left)


def best(others: int) -> Bilinear:
    """The score log p(view | mean of others) / p(view), up to what depends on the others alone."""
    slope = others / (others + NOISE)
    left = NOISE + NOISE / (others + NOISE)
    score = Bilinear(WIDTH + 2, WIDTH + 2).double().requires_grad_(False)
    score.weight.zero_()
    score.weight[:WIDTH, :WIDTH] = torch.eye(WIDTH) * slope / left
    score.weight[WIDTH + 1, WIDTH] = -(1 / left - 1 / (1 + NOISE)) / 2
    return score


def drawn(items: int, count: int, seed: int) -> torch.Tensor:
    """(items, count, WIDTH + 2): views, their squared lengths, and ones."""
    gen = torch.Generator().manual_seed(seed)
    item = torch.randn(items, 1, WIDTH, generator=gen, dtype=torch.float64)
    x = item + NOISE**0.5 * torch.randn(items, count, WIDTH, generator=gen, dtype=torch.float64)
    return torch.cat([x, x.square().sum(2, keepdim=True), torch.ones(items, count, 1, dtype=torch.float64)], dim=2)


def bound(loss: PolyView | PolyViewSufficient, count: int, others: int) -> float:
    """log of the candidates less the loss, with as many views in all whatever their number an item."""
    items = 1024 // count
    found = [float(loss(stacked(drawn(items, count, seed), score=best(others))).mean()) for seed in range(3)]
    return math.log((items - 1) * count + 1) - sum(found) / 3


def test_more_views_bring_the_bound_closer_to_the_information_there_is() -> None:
    """Theorem on the gap: what pairs say stays as it is, what the mean of all other views says grows with their number."""
    together = [bound(PolyViewSufficient(temperature=1.0), count, count - 1) for count in (2, 4, 8)]
    pairwise = [bound(PolyView(temperature=1.0), count, 1) for count in (2, 4, 8)]
    for count, found in zip((2, 4, 8), together, strict=True):
        assert abs(found - information(count - 1)) < 0.06, (count, found, information(count - 1))
    assert together[1] > together[0] + 0.1 and together[2] > together[1] + 0.04
    assert all(abs(found - information(1)) < 0.06 for found in pairwise)
