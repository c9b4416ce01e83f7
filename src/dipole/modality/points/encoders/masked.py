"""Masked autoencoder of points: a cloud in small groups, of which most are hidden and told again from the rest.

    tokens: G centres by farthest points, of each the S nearest points, less the centre -> shared MLP -> max
    encoder: [CLS; the visible tokens] + MLP(centres), ``depth`` blocks      decoder: all tokens in their order, hidden ones one learned
    vector, + MLP'(centres), ``decoder_depth`` blocks -> S x 3 coordinates a group      v = normalise(W [CLS; max over tokens])

Shapes: B clouds; in training ``tokens`` (B, G, width) are the decoder's, and ``meta`` holds ``masked`` (B, G), ``points`` (B, G, S, 3) and
``predicted`` likewise. Each side has a mask and a decoder of its own, queries the first and keys the second; the encoder is shared. Out
of training all groups are visible and the tokens are the encoder's. Source: Point-CMAE, arXiv:2407.05862; Point-MAE, arXiv:2203.06604.
Masks are drawn when a batch is prepared, so gradient caching repeats them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.nn.functional import normalize

from dipole.core.encoded import Encoded
from dipole.core.errors import DataError, ParameterError
from dipole.core.part import at_least, between, part
from dipole.modality import weights
from dipole.modality.truncation import Truncation

__all__ = ["Masked"]


@part
class Masked(nn.Module):
    """Clouds of points -> unit vectors. Weights are drawn from torch's generator. Raises DataError for items that are no clouds."""

    dimension: int = at_least(1, 384, "d")
    groups: int = at_least(2, 64, "G: groups a cloud is cut into, which may overlap")
    group_size: int = at_least(1, 32, "S: points of a group")
    ratio: float = between(0.0, 1.0, 0.6, "share of the groups that are hidden")
    width: int = at_least(4, 384, "of the transformer; a multiple of heads")
    depth: int = at_least(1, 12, "blocks of the encoder")
    decoder_depth: int = at_least(1, 4, "blocks of a decoder")
    heads: int = at_least(1, 6, "attention heads")

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ParameterError("points.masked", "width", f"a multiple of heads, {self.heads}", self.width)
        self.hidden = round(self.ratio * self.groups)
        if not 0 < self.hidden < self.groups:
            raise ParameterError("points.masked", "ratio", f"a share that hides some of {self.groups} groups and leaves some", self.ratio)
        w = self.width
        self.points, self.group = mlp(3, w, w), mlp(w, w, w)
        self.cls = nn.Parameter(torch.randn(w) * 0.02)
        self.places = nn.ModuleList(mlp(3, w, w) for _ in range(3))  # the encoder's, and one a decoder
        self.unseen = nn.Parameter(torch.randn(2, w) * 0.02)
        self.blocks = blocks(w, self.heads, self.depth)
        self.decoders = nn.ModuleList(blocks(w, self.heads, self.decoder_depth) for _ in range(2))
        self.heads_of = nn.ModuleList(nn.Linear(w, 3 * self.group_size) for _ in range(2))
        self.top = nn.Linear(2 * w, self.dimension)
        self.truncated = Truncation()

    def prepare(self, items: Sequence[Any], side: str = "queries") -> Mapping[str, torch.Tensor]:
        """``centres`` (B, G, 3), ``points`` (B, G, S, 3), ``decoder`` (B,), and in training ``order`` (B, G): visible groups first."""
        cut = [self._cut(item, f"points.masked: item {place} of {side}") for place, item in enumerate(items)]
        found = {
            "centres": torch.stack([centres for centres, _ in cut]) if cut else torch.zeros(0, self.groups, 3),
            "points": torch.stack([groups for _, groups in cut]) if cut else torch.zeros(0, self.groups, self.group_size, 3),
            "decoder": torch.full((len(items),), int(side == "keys")),
        }
        return {**found, "order": torch.rand(len(items), self.groups).argsort(1)} if self.training else found

    def _cut(self, item: Any, place: str) -> tuple[torch.Tensor, torch.Tensor]:
        if not isinstance(item, torch.Tensor) or item.dim() != 2 or item.shape[1] != 3 or len(item) < max(self.groups, self.group_size):
            rule = f"{place}: must be a tensor (points, 3) of at least {max(self.groups, self.group_size)} points"
            raise DataError(rule, value=tuple(item.shape) if isinstance(item, torch.Tensor) else item)
        cloud = item.float()
        if not bool(cloud.isfinite().all()):
            raise DataError(f"{place}: coordinates must be finite numbers")
        centres = cloud[farthest(cloud, self.groups)]
        near = torch.cdist(centres, cloud).topk(self.group_size, largest=False).indices
        return centres, cloud[near] - centres[:, None]

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Encoded:
        """The vectors of prepared inputs, which are all of one side."""
        centres, points = inputs["centres"], inputs["points"]
        every = self.group(self.points(points).amax(2)) + self.places[0](centres)
        order = inputs.get("order")
        visible = every if order is None else pick(every, order[:, : self.groups - self.hidden])
        seen = self.blocks(torch.cat([self.cls.expand(len(visible), 1, -1), visible], 1))
        before = self.top(torch.cat([seen[:, 0], seen[:, 1:].amax(1)], 1))
        pooled = normalize(before, dim=-1)
        if order is None:
            return Encoded(pooled, seen[:, 1:], torch.ones_like(seen[:, 1:, 0], dtype=torch.bool), before)
        which = int(inputs["decoder"][0])
        unseen = self.unseen[which].expand(len(seen), self.hidden, -1)
        told = pick(torch.cat([seen[:, 1:], unseen], 1), order.argsort(1)) + self.places[1 + which](centres)
        tokens = self.decoders[which](told)
        predicted = self.heads_of[which](tokens).view_as(points)
        masked = torch.ones_like(order, dtype=torch.bool).scatter(1, order[:, : self.groups - self.hidden], False)
        meta = {"masked": masked, "points": points, "predicted": predicted}
        return Encoded(pooled, tokens, torch.ones_like(masked), before, meta=meta)

    def encode(self, items: Sequence[Any], batch_size: int = 32, progress: bool = False, side: str = "") -> torch.Tensor:
        """(N, d) float32 on the CPU, all groups visible. ``side`` changes nothing here."""
        return weights.encode(self, items, batch_size, side or "queries", progress)

    @property
    def identity(self) -> str:
        """sha256 of the weights' bytes and the settings that change a vector."""
        return weights.identity(self, {**weights.settings_of(self), "ratio": None})

    def save(self, folder: str | Path) -> Path:
        """Write ``masked.safetensors``, weights and settings, into ``folder``."""
        return weights.save(self, folder, "masked.safetensors")

    @classmethod
    def load(cls, folder: str | Path) -> Masked:
        """What :meth:`save` wrote. Raises CheckpointError where it is not there or broken."""
        return cast(Masked, weights.load(cls, folder, "masked.safetensors", "points.masked"))


def farthest(cloud: torch.Tensor, count: int) -> torch.Tensor:
    """(count,) int64: the point farthest from the mean, then always the one farthest from all chosen."""
    chosen = [int((cloud - cloud.mean(0)).square().sum(1).argmax())]
    least = torch.full((len(cloud),), torch.inf)
    for _ in range(count - 1):
        least = torch.minimum(least, (cloud - cloud[chosen[-1]]).square().sum(1))
        chosen.append(int(least.argmax()))
    return torch.tensor(chosen)


def pick(tokens: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """(B, K, w): of each cloud's tokens (B, G, w) those at ``order`` (B, K)."""
    return tokens.gather(1, order[..., None].expand(-1, -1, tokens.shape[2]))


def mlp(before: int, width: int, after: int) -> nn.Sequential:
    """Two layers."""
    return nn.Sequential(nn.Linear(before, width), nn.GELU(), nn.Linear(width, after))


def blocks(width: int, heads: int, depth: int) -> nn.Sequential:
    """Pre-norm transformer blocks without dropout, each with weights of its own."""
    made = [
        nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, nn.functional.gelu, batch_first=True, norm_first=True)
        for _ in range(depth)
    ]
    return nn.Sequential(*made, nn.LayerNorm(width))
