"""Momentum: an encoder with a twin that follows it slowly and encodes some sides without gradient.

    twin <- m twin + (1 - m) encoder            after each optimizer step; m = decay, or rising to 1 by a cosine

The twin starts as a copy and is saved with the encoder, so that a resumed run goes on exactly. ``decay`` 1 leaves it as it
was: a frozen teacher of the starting weights. Buffers are averaged as weights are where they are floating, else copied.

Shapes: those of the encoder inside. Source: MoCo, arXiv:1911.05722, eq. 2 (constant m); the rising m: BYOL,
arXiv:2006.07733, section 3.2. Relation: ``queue`` keeps what the twin returned. Errors: ParameterError for a decay
outside 0 to 1.

A side takes the twin where ``sides`` names it or its name ends in ``_twin`` (negatives may ask for such a side).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from dipole.core.encoded import Encoded
from dipole.core.following import follow, twin_of
from dipole.core.part import between, choice, names, part, switch, wrapped

__all__ = ["Momentum"]

TWIN = "_twin"
_OF_THE_ENCODER = ("dimension", "device", "encode", "identity", "limit", "save", "tokenizer", "truncated")


@part
class Momentum(nn.Module):
    """What is saved, evaluated and searched with is the encoder inside, not the twin."""

    encoder: Any = wrapped("the encoder that learns")
    decay: float = between(0.0, 1.0, 0.999, "m: the share of the twin that stays, each step")
    sides: tuple[str, ...] = names(("keys",), "sides that the twin encodes")
    schedule: str = choice(("constant", "cosine"), "constant", "cosine: m rises to 1 over the run")
    dropout: bool = switch(False, "the twin encodes with dropout on, where dropout makes the views")

    def __post_init__(self) -> None:
        self.twin = twin_of(self.encoder)
        self.train()

    def learns(self, side: str) -> bool:
        """Whether gradients reach the encoder from that side."""
        return side not in self.sides and not side.endswith(TWIN)

    def prepare(self, items: Sequence[Any], side: str = "queries") -> Mapping[str, torch.Tensor]:
        """What the encoder prepares, and a mark on what is the twin's."""
        found: Mapping[str, torch.Tensor] = self.encoder.prepare(items, side.removesuffix(TWIN))
        return found if self.learns(side) else {**found, TWIN: torch.ones(len(items), dtype=torch.bool)}

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Encoded:
        """The vectors of prepared inputs; the twin's carry no gradient."""
        if TWIN not in inputs:
            encoded: Encoded = self.encoder(inputs)
            return encoded
        with torch.no_grad():
            still: Encoded = self.twin({name: t for name, t in inputs.items() if name != TWIN})
            return still

    def after_step(self, step: int, steps: int) -> None:
        """Let the twin follow; ``step`` of ``steps`` optimizer steps are done."""
        stays = self.decay
        if self.schedule == "cosine":
            stays = 1 - (1 - self.decay) * (math.cos(math.pi * step / max(steps, 1)) + 1) / 2
        follow(self.twin, self.encoder, stays)

    def train(self, mode: bool = True) -> Momentum:
        super().train(mode)
        if "twin" in self._modules:  # not yet while the encoder itself is put in its place
            self.twin.train(mode and self.dropout)
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.encoder, name) if name in _OF_THE_ENCODER else super().__getattr__(name)
