"""Feature map: a small convolutional network that keeps every place, and tells of each, in one number, how its neighbourhood varies.

    f = conv -> GroupNorm -> ReLU, ``depth`` times, stride 1      v = normalise(W of the map)

map: per window of 3 x 3 places, each place's channels less their mean; V the 9 x 9 matrix of their products; the number is
(largest row sum of V + smallest row sum of V) / (2 trace V). Source of the map: PRISE, arXiv:2303.11526, authors' code.

Shapes: B images, ``meta["map"]`` (B, size, size). The number does not change with the scale of f.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.functional import normalize, pad, unfold

from dipole.core.encoded import Encoded
from dipole.core.errors import ParameterError
from dipole.core.part import at_least, part
from dipole.modality import weights
from dipole.modality.image.pixels import batch
from dipole.modality.truncation import Truncation

__all__ = ["FeatureMap", "one_channel"]


@part
class FeatureMap(weights.Plain):
    """Images -> maps, and a vector of each map. Keys have a network of their own, for images of another kind."""

    dimension: int = at_least(1, 32, "d")
    size: int = at_least(4, 32, "pixels a side that images are brought to")
    channels: int = at_least(1, 1, "1 for grey, 3 for colour")
    width: int = at_least(4, 8, "channels of a layer, a multiple of 4")
    depth: int = at_least(1, 2, "layers")

    def __post_init__(self) -> None:
        if self.width % 4:
            raise ParameterError("image.feature_map", "width", "a multiple of 4", self.width)
        self.towers = nn.ModuleList(self._tower() for _ in range(2))
        self.top = nn.Linear(self.size**2, self.dimension)
        self.truncated = Truncation()

    def _tower(self) -> nn.Sequential:
        layers: list[nn.Module] = []
        for before in (self.channels, *[self.width] * (self.depth - 1)):
            layers += [nn.Conv2d(before, self.width, 3, padding=1), nn.GroupNorm(4, self.width), nn.ReLU()]
        return nn.Sequential(*layers)

    def prepare(self, items: Sequence[Any], side: str = "queries") -> Mapping[str, torch.Tensor]:
        """``pixels`` (B, channels, size, size) float32 in 0 .. 1, and which tower takes them: keys have the second."""
        images = batch(items, self.channels, self.size, f"image.feature_map, {side}")
        return {"pixels": images, "tower": torch.full((len(items),), int(side == "keys"))}

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Encoded:
        """The maps of prepared inputs, which are all of one side."""
        tower = self.towers[int(inputs["tower"][0])] if len(inputs["tower"]) else self.towers[0]
        maps = one_channel(tower(inputs["pixels"] * 2 - 1))
        before = self.top(maps.flatten(1))
        return Encoded(normalize(before, dim=-1), pre_norm=before, meta={"map": maps})


def one_channel(features: torch.Tensor) -> torch.Tensor:
    """(B, H, W) from (B, C, H, W): how the places of each window of 3 x 3 vary together."""
    around = unfold(pad(features, (1, 1, 1, 1), mode="replicate"), 3).unflatten(1, (features.shape[1], 9))  # (B, C, 9, H * W)
    centred = around - around.mean(1, keepdim=True)
    row_sums = (centred * centred.sum(2, keepdim=True)).sum(1)  # (B, 9, H * W): V's rows summed, without V
    trace = centred.square().sum((1, 2))
    found: torch.Tensor = (row_sums.amax(1) + row_sums.amin(1)) / (2 * trace.clamp(min=1e-6))
    return found.view(len(features), *features.shape[2:])
