"""Shapes: points on the surface of solids, turned about the upright axis, stretched and noisy, all from one seed.

Spheres, boxes, cylinders, cones and rings, equally frequent.
"""

from __future__ import annotations

import math

import torch

from dipole.core.made import Made
from dipole.core.part import at_least, part
from dipole.core.protocols import Row

__all__ = ["Shapes"]

NAMES = ("sphere", "box", "cylinder", "cone", "ring")


@part
class Shapes(Made):
    """Rows ``anchor`` (points, 3) float32 about the origin, ``positive`` the solid's name, ``label`` its place in ``NAMES``."""

    count: int = at_least(1, 250, "how many rows")
    points: int = at_least(8, 128, "points of a cloud")
    noise: float = at_least(0.0, 0.02, "standard deviation of what is added to each coordinate")
    seed: int = at_least(0, 0, "equal seeds, equal rows")

    def __post_init__(self) -> None:
        chance = torch.Generator().manual_seed(self.seed)
        rows: list[Row] = []
        for place in range(self.count):
            label = place % len(NAMES)
            cloud = solid(NAMES[label], self.points, chance) * (0.7 + 0.6 * torch.rand(3, generator=chance))
            turn = 2 * math.pi * float(torch.rand((), generator=chance))
            matrix = torch.tensor([[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1.0]])
            cloud = cloud @ matrix.T + self.noise * torch.randn(self.points, 3, generator=chance)
            rows.append({"anchor": cloud - cloud.mean(0), "positive": NAMES[label], "label": label})
        self.keep(rows, b"".join(row["anchor"].numpy().tobytes() for row in rows))


def solid(name: str, count: int, chance: torch.Generator) -> torch.Tensor:
    """(count, 3) points on the surface of one of ``NAMES``, within -1 and 1."""
    even = torch.rand(count, 3, generator=chance)
    around, height = 2 * math.pi * even[:, 0], 2 * even[:, 1] - 1
    if name == "sphere":
        wide = (1 - height**2).sqrt()
    elif name == "box":
        cloud = 2 * even - 1
        axis = torch.randint(3, (count, 1), generator=chance)
        ends = torch.randint(2, (count, 1), generator=chance).float() * 2 - 1
        return cloud.scatter(1, axis, ends)
    elif name == "cylinder":
        wide = torch.ones(count)
    elif name == "cone":
        wide = even[:, 1].sqrt()  # area grows with the distance from the tip
        height = 1 - 2 * wide
    else:
        tube = 2 * math.pi * even[:, 1]
        wide, height = 0.7 + 0.3 * tube.cos(), 0.3 * tube.sin()
    return torch.stack([wide * around.cos(), wide * around.sin(), height], 1)
