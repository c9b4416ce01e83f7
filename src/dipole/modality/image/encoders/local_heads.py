"""Local heads: changed copies of images and texts end in heads of their own, which are thrown away after training.

    v = normalise(W_3 relu(LN(W_2 relu(LN(W_1 f)))))   on sides whose name begins with ``local``; elsewhere what the encoder inside returns

Shapes: f the vector of a tower of ``image.two_towers``, which both heads stand on; v (B, d), one network a tower. Source: CLIP-Rocket,
arXiv:2305.08675, which has a BatchNorm where a LayerNorm stands here, so that an item's vector depends on no other item. Relation: the view
``image.captioned_views`` makes the sides. What is saved, evaluated and searched with is the encoder inside; checkpoints keep the heads.
Goes around an encoder with two towers. Errors: UsageError around any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from dipole.core.encoded import Encoded
from dipole.core.errors import UsageError
from dipole.core.part import at_least, part, wrapped

__all__ = ["LocalHeads"]

LOCAL = "local"
_OF_THE_ENCODER = ("after_step", "device", "dimension", "encode", "identity", "learns", "limit", "save", "tokenizer", "towers", "truncated")


@part
class LocalHeads(nn.Module):
    """A second way out of both towers."""

    encoder: Any = wrapped("two towers")
    hidden: int = at_least(1, 4096, "width of the networks")

    def __post_init__(self) -> None:
        if not hasattr(self.encoder, "of_tower"):
            raise UsageError("image.local_heads: goes around image.two_towers, whose towers it stands on")
        d, width = self.encoder.dimension, self.hidden
        self.heads = nn.ModuleDict(
            {
                name: nn.Sequential(*_layer(tower.dimension, width), *_layer(width, width), nn.Linear(width, d))
                for name, tower in self.encoder.towers.items()
            }
        )

    def prepare(self, items: Sequence[Any], side: str = "queries") -> Mapping[str, torch.Tensor]:
        """What the encoder inside prepares, and a mark on what is local."""
        found: Mapping[str, torch.Tensor] = self.encoder.prepare(items, side)
        return {**found, LOCAL: torch.ones(len(items), dtype=torch.bool)} if side.startswith(LOCAL) else found

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Encoded:
        """The vectors of prepared inputs."""
        if LOCAL not in inputs:
            whole: Encoded = self.encoder(inputs)
            return whole
        name, found = self.encoder.of_tower({key: tensor for key, tensor in inputs.items() if key != LOCAL})
        before = self.heads[name](found.unnormalised)
        return Encoded(nn.functional.normalize(before, dim=-1), pre_norm=before)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.encoder, name) if name in _OF_THE_ENCODER else super().__getattr__(name)


def _layer(into: int, width: int) -> tuple[nn.Module, ...]:
    return nn.Linear(into, width), nn.LayerNorm(width), nn.ReLU()
