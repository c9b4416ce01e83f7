"""A vision transformer for which an image in training is a region of a larger one that nobody has seen.

    z_0 = W x_patch + crop(E)      z_l = z + MSA(LN z), then z + MLP(LN z)      v = normalise(mean of W' LN(z_L) over patches)

crop, for every image anew: E, S x S positions, brought to 64 x 64, a box of it cut out and brought back to S x S, bilinear; the box has a
share of the area from ``crop`` to 1 and sides of a ratio from 1/2 to 2. In evaluation mode E is taken whole.

Shapes: B images, S = size / patch patches a side; ``tokens`` (B, S * S, d), the patches row by row: a region's vector is the mean of its
tokens. Source: RO-ViT, arXiv:2305.07011, cropped positional embeddings. Relation: ``vit`` has a token of its own for the whole image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.functional import grid_sample, interpolate

from dipole.core.encoded import Encoded
from dipole.core.errors import ParameterError
from dipole.core.part import at_least, between, part
from dipole.modality import weights
from dipole.modality.image.encoders.vit import blocks
from dipole.modality.image.pixels import batch
from dipole.modality.truncation import Truncation

__all__ = ["RegionViT"]
_WHOLE = 64  # positions a side of the unknown larger image


@part
class RegionViT(weights.Plain):
    """Images -> unit vectors. Weights are drawn from torch's generator. Raises DataError for items that are no images."""

    dimension: int = at_least(1, 64, "d")
    size: int = at_least(2, 32, "pixels a side that images are brought to")
    channels: int = at_least(1, 3, "1 for grey, 3 for colour")
    patch: int = at_least(1, 4, "pixels a side of a patch")
    width: int = at_least(4, 64, "of the transformer; a multiple of heads")
    depth: int = at_least(1, 4, "blocks")
    heads: int = at_least(1, 4, "attention heads")
    crop: float = between(0.0, 1.0, 0.1, "least share of the positions' area that a training image stands for; 1: no crops")

    incidental = ("crop",)

    def __post_init__(self) -> None:
        if self.size % self.patch:
            raise ParameterError("image.region_vit", "patch", f"a divisor of size, {self.size}", self.patch)
        side = self.size // self.patch
        self.patches = nn.Conv2d(self.channels, self.width, self.patch, self.patch)
        self.positions = nn.Parameter(torch.randn(side, side, self.width) * 0.02)
        self.blocks = blocks("image.region_vit", self.width, self.heads, self.depth)
        self.top = nn.Linear(self.width, self.dimension, bias=False)
        self.truncated = Truncation()

    def prepare(self, items: Sequence[Any], side: str = "queries") -> Mapping[str, torch.Tensor]:
        """``pixels`` (B, channels, size, size) float32 in 0 .. 1."""
        return {"pixels": batch(items, self.channels, self.size, f"image.region_vit, {side}")}

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Encoded:
        """The vectors of prepared inputs."""
        patches = self.patches(inputs["pixels"] * 2 - 1).flatten(2).transpose(1, 2)
        where = self.positions.flatten(0, 1)
        if self.training and self.crop < 1:
            where = cropped(self.positions, boxes(len(patches), self.crop).to(patches))
        tokens = self.top(self.blocks(patches + where))
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        before = tokens.mean(1)
        return Encoded(nn.functional.normalize(before, dim=-1), tokens, mask, before)


def boxes(count: int, least: float) -> torch.Tensor:
    """(count, 4): left, top, width and height of a box in the unit square, by chance; area ``least`` to 1, sides 1/2 to 2 of each other.

    A box that would stick out is narrowed to the square.
    """
    area = torch.rand(count) * (1 - least) + least
    ratio = (2 * torch.rand(count) - 1).mul(torch.tensor(2.0).log()).exp()
    width, height = ((area * r).sqrt().clamp(max=1) for r in (ratio, 1 / ratio))
    return torch.stack([torch.rand(count) * (1 - width), torch.rand(count) * (1 - height), width, height], 1)


def cropped(table: torch.Tensor, box: torch.Tensor) -> torch.Tensor:
    """(B, S * S, w): of a table (S, S, w) of positions, what each box (B, 4) of it shows, at the table's own size."""
    side = len(table)
    whole = interpolate(table.permute(2, 0, 1)[None], (_WHOLE, _WHOLE), mode="bilinear", align_corners=False)
    middles = (torch.arange(side, device=table.device, dtype=table.dtype) + 0.5) / side
    across, down = (box[:, i, None] + box[:, i + 2, None] * middles for i in range(2))
    points = torch.stack([across[:, None, :].expand(-1, side, -1), down[:, :, None].expand(-1, -1, side)], -1)
    seen = grid_sample(whole.expand(len(box), -1, -1, -1), points * 2 - 1, padding_mode="border", align_corners=False)
    return seen.flatten(2).transpose(1, 2)
