"""What the uniformity term does to points that may go anywhere: known optimal configurations of a sphere."""

from __future__ import annotations

import math

import pytest
import torch

from dipole import Pairs
from dipole.losses import AlignUniform


def spread(count: int, dimension: int, seed: int, steps: int) -> tuple[torch.Tensor, float]:
    """Free points on a sphere after minimising the uniformity term alone, and its value."""
    torch.manual_seed(seed)
    free = torch.randn(count, dimension, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([free], lr=0.05)
    loss = AlignUniform(align_weight=0.0, sharpness=2.0)
    for _ in range(steps):
        optimizer.zero_grad()
        unit = torch.nn.functional.normalize(free, dim=1)
        value = loss(Pairs.aligned(unit, unit)).mean()
        value.backward()
        optimizer.step()
    unit = torch.nn.functional.normalize(free.detach(), dim=1)
    return unit @ unit.T, float(value.detach())


@pytest.mark.parametrize("seed", [0, 1])
def test_uniformity_alone_spreads_free_points_as_far_as_they_go(seed: int) -> None:
    """Twelve points on the sphere become an icosahedron, whose nearest corners are arctan 2 = 63.43 degrees apart."""
    cosines, value = spread(12, 3, seed, 500)
    nearest = (cosines - 2 * torch.eye(12, dtype=torch.float64)).max()
    assert math.degrees(math.acos(float(nearest))) == pytest.approx(math.degrees(math.atan(2)), abs=0.05)
    corners = torch.tensor([1 / math.sqrt(5)] * 5 + [-1 / math.sqrt(5)] * 5 + [-1.0], dtype=torch.float64)
    assert value == pytest.approx(float((-2 * (2 - 2 * corners)).exp().mean().log()), abs=1e-4)


def test_one_point_more_than_dimensions_becomes_a_simplex() -> None:
    cosines, _ = spread(5, 4, 0, 300)
    torch.testing.assert_close(cosines[~torch.eye(5, dtype=torch.bool)], torch.full((20,), -0.25, dtype=torch.float64), atol=1e-3, rtol=0)
