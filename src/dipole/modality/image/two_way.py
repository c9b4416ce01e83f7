"""Two-way: embeddings of an image's objects and tokens of the image read each other, layer after layer.

    O <- LN(O + MHA(O, O))      O <- LN(O + MHA(O, M))      O <- LN(O + W2 relu(W1 O))      M <- LN(M + MHA(M, O))

Shapes: objects O (B, n, d) with a mask (B, n), tokens M (B, L, d) with a mask (B, L); every LN is one of its own. Source: MutDet,
arXiv:2407.09920, its mutual enhancement, after the two-way transformer of Segment Anything, arXiv:2304.02643. An image without objects
keeps its tokens but for their LN.
"""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["TwoWay"]


class TwoWay(nn.Module):
    """``depth`` layers, each with weights of its own."""

    def __init__(self, dimension: int, heads: int, depth: int, mlp: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(dimension, heads, mlp) for _ in range(depth))

    def forward(
        self, objects: torch.Tensor, tokens: torch.Tensor, held: torch.Tensor, there: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Both again. ``held`` (B, n) and ``there`` (B, L): True where an object and a token count."""
        for layer in self.layers:
            objects, tokens = layer(objects, tokens, held, there)
        return objects, tokens


class Layer(nn.Module):
    """The four lines of the module's text."""

    def __init__(self, dimension: int, heads: int, mlp: int) -> None:
        super().__init__()
        self.among, self.reading, self.read = (nn.MultiheadAttention(dimension, heads, batch_first=True) for _ in range(3))
        self.mlp = nn.Sequential(nn.Linear(dimension, mlp), nn.ReLU(), nn.Linear(mlp, dimension))
        self.norms = nn.ModuleList(nn.LayerNorm(dimension) for _ in range(4))

    def forward(
        self, objects: torch.Tensor, tokens: torch.Tensor, held: torch.Tensor, there: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        objects = self.norms[0](objects + attended(self.among, objects, objects, held))
        objects = self.norms[1](objects + attended(self.reading, objects, tokens, there))
        objects = self.norms[2](objects + self.mlp(objects))
        return objects, self.norms[3](tokens + attended(self.read, tokens, objects, held))


def attended(attention: nn.MultiheadAttention, asking: torch.Tensor, answering: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(B, L, d): what each of ``asking`` reads of those ``answering`` that the mask has; 0 where it has none."""
    some = mask.any(1)
    found: torch.Tensor = attention(asking, answering, answering, ~mask & some[:, None], need_weights=False)[0]
    return found * some[:, None, None]
