"""Star convex: the difference of two maps, as a function of the warp between them, should rise from the truth like a bowl.

    h(w) = mean over pixels of (F_T - warp(F_I; w))^2,   h* = h(w*);   D = w* * d (relative) or d,  d even in -noise .. noise,  s = +1, -1
    e2 = max(0, h* + mu/2 |d|^2 - h(w* + s D))
    e3 = max(0, h(w* + s rho D) - (1 - rho) h* - rho h(w* + s D) + mu/2 rho (1 - rho) |d|^2)
    R  = mean_i [ h* + penalty * sum over draws and signs of (e2 + e3) ]

Shapes: ``meta["map"]`` (B, H, W) of queries (the template F_T) and keys (the input F_I); ``keys`` have ``meta["warp"]``, (B, 2) shifts
right and down, in halves of the map's side, or (B, 8) homographies without their last corner: where in the input a template's pixel
is. Source: PRISE, arXiv:2303.11526, its strong star-convexity; a draw's least size and the norm of d instead of D are the code's.
Relation: with penalty 0 the plain difference of maps; e2 alone is a margin between the true warp and wrong ones. A constant map is not
free: it has e2 = mu/2 |d|^2. Errors: DataError for other shapes.

>>> from dipole.core.encoded import Encoded
>>> flat = Encoded(torch.zeros(1, 1), meta={"map": torch.ones(1, 4, 4), "warp": torch.zeros(1, 2)})
>>> bool(StarConvex(relative=False).over_encoded({"queries": flat, "keys": flat}) > 0)
True
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from dipole.core.chance import Chance
from dipole.core.encoded import Encoded
from dipole.core.errors import DataError
from dipole.core.part import at_least, between, part, positive, switch
from dipole.core.vectors import wide
from dipole.regularizers.sides import meta_of

__all__ = ["StarConvex", "warped"]


@part
class StarConvex(nn.Module):
    """Difference of maps at the true warp, and hinges that make it a bowl around there."""

    convexity: float = at_least(0.0, 1.0, "mu: how steep the bowl is")
    rho: float = between(0.0, 1.0, 0.5, "where between the truth and the draw the bowl is tested")
    penalty: float = at_least(0.0, 5.0, "weight of the hinges")
    draws: int = at_least(1, 4, "wrong warps an item and step")
    noise: float = positive(1 / 12, "largest part of a draw")
    least: float = at_least(0.0, 0.02, "smallest size of a draw's entries")
    relative: bool = switch(True, "draws multiply the true warp; otherwise they are added")

    reads = ("meta",)

    def __post_init__(self) -> None:
        self.chance = Chance()

    def over_encoded(self, sides: Mapping[str, Encoded]) -> torch.Tensor:
        """Scalar, float32 or better."""
        found = meta_of(sides, "StarConvex", "map")
        if len(found) != 2 or found[0].shape != found[1].shape or found[0].dim() != 3 or "warp" not in sides["keys"].meta:
            shapes = [tuple(m.shape) for m in found]
            raise DataError("StarConvex: needs two maps (B, H, W) and the keys' warp", value=shapes, remedy="use views image.shifted")
        template, image = (wide(m)[:, None] for m in found)
        truth = sides["keys"].meta["warp"].to(template)

        def h(warp: torch.Tensor) -> torch.Tensor:
            return (template - warped(image, warp)).square().mean((1, 2, 3))

        best, hinges = h(truth), torch.zeros_like(truth[:, 0])
        chance = self.chance.next()
        for _ in range(self.draws):
            drawn = ((torch.rand(truth.shape, generator=chance, dtype=torch.float64) * 2 - 1) * self.noise).to(truth)
            drawn = torch.where(drawn < 0, -1.0, 1.0) * drawn.abs().clamp(min=self.least)
            away = truth * drawn if self.relative else drawn
            bowl = self.convexity / 2 * drawn.square().sum(1)
            for sign in (1, -1):
                far, near = h(truth + sign * away), h(truth + sign * self.rho * away)
                below = (best + bowl - far).clamp(min=0)
                bulge = (near - (1 - self.rho) * best - self.rho * far + self.rho * (1 - self.rho) * bowl).clamp(min=0)
                hinges = hinges + below + bulge
        return (best + self.penalty * hinges).mean()


def warped(images: torch.Tensor, warp: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) sampled where (B, 2) shifts or (B, 8) homographies send each pixel; -1 .. 1 is the image, beyond it the rim goes on."""
    ones = torch.ones_like(warp[:, :1])
    if warp.shape[1] == 2:
        zero = torch.zeros_like(ones)
        matrix = torch.cat([ones, zero, warp[:, :1], zero, ones, warp[:, 1:], zero, zero, ones], 1).view(-1, 3, 3)
    else:
        matrix = torch.cat([warp, ones], 1).view(-1, 3, 3)
    height, width = images.shape[2:]
    down, right = (torch.linspace(-1, 1, n, dtype=images.dtype, device=images.device) for n in (height, width))
    places = torch.stack([right.expand(height, -1), down[:, None].expand(-1, width), torch.ones_like(images[0, 0])], -1)
    found = places.view(1, -1, 3) @ matrix.transpose(1, 2)
    grid = (found[..., :2] / found[..., 2:]).view(-1, height, width, 2)
    return nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=True)
