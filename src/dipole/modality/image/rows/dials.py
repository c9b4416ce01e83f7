"""Dials: a hand that points somewhere, and noise: the smallest images with a number to learn, all from one seed.

The hand is a bar from the middle to the rim. Its number is the angle in steps of 180 / ``steps`` degrees from left to right over the top.
"""

from __future__ import annotations

import torch

from dipole.core.made import Made
from dipole.core.part import at_least, part

__all__ = ["Dials"]


@part
class Dials(Made):
    """Rows ``anchor`` (1, size, size) float32 in 0 .. 1, ``number`` 0.0 to ``steps``, ``positive``, the dial of another row, and ``score``,
    minus how far apart the two numbers are."""

    count: int = at_least(1, 256, "how many rows")
    steps: int = at_least(1, 20, "a half circle has so many steps")
    size: int = at_least(4, 8, "pixels a side")
    noise: float = at_least(0.0, 0.1, "standard deviation of what is added to each pixel")
    seed: int = at_least(0, 0, "equal seeds, equal rows")

    def __post_init__(self) -> None:
        chance = torch.Generator().manual_seed(self.seed)
        numbers = torch.randint(self.steps + 1, (self.count,), generator=chance)
        images = self._drawn(numbers) + self.noise * torch.randn(self.count, 1, self.size, self.size, generator=chance)
        other = torch.randperm(self.count, generator=chance)
        apart = (numbers - numbers[other]).abs()
        rows = [
            {"anchor": image, "number": float(number), "positive": images[int(j)].clamp(0, 1), "score": -float(far)}
            for image, number, j, far in zip(images.clamp(0, 1), numbers, other, apart, strict=True)
        ]
        self.keep(rows, images.numpy().tobytes() + numbers.numpy().tobytes())

    def _drawn(self, numbers: torch.Tensor) -> torch.Tensor:
        """(N, 1, size, size): how near a pixel is to the hand."""
        places = torch.linspace(-1, 1, self.size)
        up, right = -places[:, None].expand(-1, self.size), places[None].expand(self.size, -1)
        angle = (torch.pi * (1 - numbers / self.steps))[:, None, None]
        along = right * angle.cos() + up * angle.sin()
        across = -right * angle.sin() + up * angle.cos()
        hand = (-((across * self.size / 2) ** 2)).exp() * ((along >= 0) & (along <= 1))
        return hand[:, None]
