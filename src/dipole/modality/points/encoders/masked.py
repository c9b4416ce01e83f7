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
from typing import Any

import torch
from torch import nn
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pad_sequence

from dipole.core.encoded import Encoded
from dipole.core.errors import DataError, ParameterError
from dipole.core.part import at_least, between, part
from dipole.modality import weights
from dipole.modality.truncation import Truncation

__all__ = ["Masked"]


@part
class Masked(weights.Plain):
    """Clouds of points -> unit vectors. Weights are drawn from torch's generator. Raises DataError for items that are no clouds."""

    dimension: int = at_least(1, 384, "d")
    groups: int = at_least(2, 64, "G: groups a cloud is cut into, which may overlap")
    group_size: int = at_least(1, 32, "S: points of a group")
    ratio: float = between(0.0, 1.0, 0.6, "share of the groups that are hidden")
    width: int = at_least(4, 384, "of the transformer; a multiple of heads")
    depth: int = at_least(1, 12, "blocks of the encoder")
    decoder_depth: int = at_least(1, 4, "blocks of a decoder")
    heads: int = at_least(1, 6, "attention heads")

    incidental = ("ratio",)

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
        clouds = [self._checked(item, f"points.masked: item {place} of {side}") for place, item in enumerate(items)]
        centres, points = self._cut(clouds) if clouds else (torch.zeros(0, self.groups, 3), torch.zeros(0, self.groups, self.group_size, 3))
        found = {"centres": centres, "points": points, "decoder": torch.full((len(items),), int(side == "keys"))}
        return {**found, "order": torch.rand(len(items), self.groups).argsort(1)} if self.training else found

    def _checked(self, item: Any, place: str) -> torch.Tensor:
        if not isinstance(item, torch.Tensor) or item.dim() != 2 or item.shape[1] != 3 or len(item) < max(self.groups, self.group_size):
            rule = f"{place}: must be a tensor (points, 3) of at least {max(self.groups, self.group_size)} points"
            raise DataError(rule, value=tuple(item.shape) if isinstance(item, torch.Tensor) else item)
        if not bool(item.isfinite().all()):
            raise DataError(f"{place}: coordinates must be finite numbers")
        return item.float()

    def _cut(self, clouds: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Centres (B, G, 3), and the points about each less the centre (B, G, S, 3)."""
        padded = pad_sequence(list(clouds), batch_first=True)  # (B, N, 3)
        real = torch.arange(padded.shape[1]) < torch.tensor([len(cloud) for cloud in clouds])[:, None]
        centres = pick(padded, farthest(padded, real, self.groups))
        near = torch.cdist(centres, padded).masked_fill(~real[:, None], torch.inf).topk(self.group_size, largest=False).indices
        return centres, pick(padded, near.flatten(1)).unflatten(1, (self.groups, self.group_size)) - centres[:, :, None]

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


def farthest(clouds: torch.Tensor, real: torch.Tensor, count: int) -> torch.Tensor:
    """(B, count) int64: the point farthest from the mean, then always the one farthest from all chosen.

    ``clouds`` (B, N, 3), ``real`` (B, N): which of the rows are points.
    """
    mean = (clouds * real[..., None]).sum(1, keepdim=True) / real.sum(1)[:, None, None]
    chosen = [_most((clouds - mean).square().sum(2), real)]
    least = torch.full(real.shape, torch.inf)
    for _ in range(count - 1):
        least = torch.minimum(least, (clouds - pick(clouds, chosen[-1])).square().sum(2))
        chosen.append(_most(least, real))
    return torch.cat(chosen, 1)


def _most(values: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """(B, 1): where among the real ones each row is largest."""
    return values.masked_fill(~real, -torch.inf).argmax(1, keepdim=True)


def pick(tokens: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """(B, K, w): of each row's vectors (B, G, w) those at ``order`` (B, K)."""
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
