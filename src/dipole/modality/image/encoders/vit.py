"""A small vision transformer (arXiv:2010.11929): patches, positions, a [CLS] token, pre-norm blocks.

    z_0 = [cls; W x_patch] + positions      z_l = z + MSA(LN z), then z + MLP(LN z)      v = normalise(W' LN(z_L)[cls])

Shapes: B images, P = size / patch patches a side; ``tokens`` (B, 1 + P * P, d): [CLS], then the patches row by row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from dipole.core.encoded import Encoded
from dipole.core.errors import ParameterError
from dipole.core.part import at_least, between, part
from dipole.modality import weights
from dipole.modality.image.pixels import batch
from dipole.modality.truncation import Truncation

__all__ = ["ViT"]


@part
class ViT(weights.Plain):
    """Images -> unit vectors. Weights are drawn from torch's generator. Raises DataError for items that are no images."""

    dimension: int = at_least(1, 64, "d")
    size: int = at_least(2, 32, "pixels a side that images are brought to")
    channels: int = at_least(1, 3, "1 for grey, 3 for colour")
    patch: int = at_least(1, 4, "pixels a side of a patch")
    width: int = at_least(4, 64, "of the transformer; a multiple of heads")
    depth: int = at_least(1, 4, "blocks")
    heads: int = at_least(1, 4, "attention heads")
    dropout: float = between(0.0, 0.9, 0.0, "share of numbers set to 0 in train mode")

    incidental = ("dropout",)

    def __post_init__(self) -> None:
        if self.size % self.patch:
            raise ParameterError("image.vit", "patch", f"a divisor of size, {self.size}", self.patch)
        count = (self.size // self.patch) ** 2
        self.patches = nn.Conv2d(self.channels, self.width, self.patch, self.patch)
        self.cls = nn.Parameter(torch.randn(self.width) * 0.02)
        self.positions = nn.Parameter(torch.randn(1 + count, self.width) * 0.02)
        self.blocks = blocks("image.vit", self.width, self.heads, self.depth, self.dropout)
        self.top = nn.Linear(self.width, self.dimension, bias=False)
        self.truncated = Truncation()

    def prepare(self, items: Sequence[Any], side: str = "queries") -> Mapping[str, torch.Tensor]:
        """``pixels`` (B, channels, size, size) float32 in 0 .. 1."""
        return {"pixels": batch(items, self.channels, self.size, f"image.vit, {side}")}

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Encoded:
        """The vectors of prepared inputs."""
        patches = self.patches(inputs["pixels"] * 2 - 1).flatten(2).transpose(1, 2)
        start = torch.cat([self.cls.expand(len(patches), 1, -1), patches], 1) + self.positions
        tokens = self.top(self.blocks(start))
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return Encoded(nn.functional.normalize(tokens[:, 0], dim=-1), tokens, mask, tokens[:, 0])


def blocks(name: str, width: int, heads: int, depth: int, dropout: float = 0.0) -> nn.TransformerEncoder:
    """Pre-norm blocks, each with weights of its own. Raises ParameterError where heads do not divide the width."""
    if width % heads:
        raise ParameterError(name, "heads", f"a divisor of width, {width}", heads)
    block = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout, nn.functional.gelu, batch_first=True, norm_first=True)
    stacked = nn.TransformerEncoder(block, depth, nn.LayerNorm(width), enable_nested_tensor=False)
    for layer in stacked.layers:  # nn.TransformerEncoder copies one block
        layer.apply(_fresh)
    return stacked


def _fresh(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.MultiheadAttention):
        nn.init.xavier_uniform_(module.in_proj_weight)
