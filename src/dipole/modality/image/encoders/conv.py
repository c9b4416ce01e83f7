"""A small convolutional network: every stage halves height and width; the places that are left make the image's vector.

    f = [conv 3x3 -> GroupNorm -> ReLU -> conv 3x3 -> GroupNorm -> ReLU -> mean of 2x2] * depth (x)
    tokens = V f at every place      v = normalise(W LN(tokens averaged to a grid of at most 4 x 4, in one row))

Shapes: B images, S = size / 2^depth places a side, d = ``dimension``; ``tokens`` (B, S * S, d) are the places, row by row.
GroupNorm and no BatchNorm: an image's vector depends on no other image, so gradient caching and several processes are exact.
The grid, and not the mean over all places, makes the vector: of small drawings it matters where a line is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from dipole.core.encoded import Encoded
from dipole.core.errors import ParameterError
from dipole.core.part import at_least, part, switch
from dipole.modality import weights
from dipole.modality.image.pixels import batch
from dipole.modality.truncation import Truncation

__all__ = ["Conv"]


@part
class Conv(weights.Plain):
    """Images -> vectors. Weights are drawn from torch's generator. Raises DataError for items that are no images."""

    dimension: int = at_least(1, 64, "d")
    size: int = at_least(2, 32, "pixels a side that images are brought to")
    channels: int = at_least(1, 3, "1 for grey, 3 for colour")
    width: int = at_least(4, 32, "channels of the first stage, a multiple of 4; every further stage has twice as many")
    depth: int = at_least(1, 3, "stages")
    normalize: bool = switch(True, "unit length, so that the dot product is the cosine")

    def __post_init__(self) -> None:
        if self.width % 4:
            raise ParameterError("image.conv", "width", "a multiple of 4", self.width)
        if self.size % 2**self.depth:
            raise ParameterError("image.conv", "size", f"a multiple of {2**self.depth} for depth {self.depth}", self.size)
        before, stages = self.channels, []
        for stage in range(self.depth):
            after = self.width * 2**stage
            for into in (before, after):
                stages += [nn.Conv2d(into, after, 3, padding=1, bias=False), nn.GroupNorm(4, after), nn.ReLU()]
            stages.append(nn.AvgPool2d(2))
            before = after
        self.stages = nn.Sequential(*stages)
        side = min(4, self.size // 2**self.depth)
        self.local = nn.Conv2d(before, self.dimension, 1)
        self.grid = nn.Sequential(nn.AdaptiveAvgPool2d(side), nn.Flatten(), nn.LayerNorm(self.dimension * side * side))
        self.top = nn.Linear(self.dimension * side * side, self.dimension)
        self.truncated = Truncation()

    def prepare(self, items: Sequence[Any], side: str = "queries") -> Mapping[str, torch.Tensor]:
        """``pixels`` (B, channels, size, size) float32 in 0 .. 1."""
        return {"pixels": batch(items, self.channels, self.size, f"image.conv, {side}")}

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Encoded:
        """The vectors of prepared inputs."""
        places = self.local(self.stages(inputs["pixels"] * 2 - 1))
        before = self.top(self.grid(places))
        tokens = places.flatten(2).transpose(1, 2)
        pooled = nn.functional.normalize(before, dim=-1) if self.normalize else before
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return Encoded(pooled, tokens, mask, before)
