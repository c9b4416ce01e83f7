"""Classified: an encoder whose vectors are also judged by a cosine classifier.

    logits_c = cos(v, w_c) / t            v: the vector before normalisation where the encoder keeps it

Shapes: ``logits`` (B, C) beside what the encoder inside returns. ``cross_entropy`` and ``mean_entropy``
read them. What is saved, evaluated and searched with is the encoder inside; the classes are kept in checkpoints.
Source: cosine classifiers, e.g. arXiv:1804.09458.

>>> import torch
>>> from dipole.modality.toy.encoders.bag import Bag
>>> encoder = Classified(Bag(dimension=4), classes=3)
>>> encoder(encoder.prepare(["one text", "another"])).logits.shape
torch.Size([2, 3])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.functional import normalize

from dipole.core.encoded import Encoded
from dipole.core.part import at_least, part, positive, wrapped

__all__ = ["Classified"]

_OF_THE_ENCODER = ("after_step", "device", "dimension", "encode", "identity", "learns", "limit", "save", "tokenizer", "truncated")


@part
class Classified(nn.Module):
    """One learned direction a class."""

    encoder: Any = wrapped("the encoder that is classified")
    classes: int = at_least(2, about="C")
    temperature: float = positive(1 / 30, "cosines are divided by it")

    def __post_init__(self) -> None:
        self.weight = nn.Parameter(torch.randn(self.classes, self.encoder.dimension) * self.encoder.dimension**-0.5)

    def prepare(self, items: Sequence[Any], side: str = "queries") -> Mapping[str, torch.Tensor]:
        """What the encoder inside prepares."""
        found: Mapping[str, torch.Tensor] = self.encoder.prepare(items, side)
        return found

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Encoded:
        """What the encoder inside returns, and the logits."""
        encoded: Encoded = self.encoder(inputs)
        return replace(encoded, logits=normalize(encoded.unnormalised, dim=-1) @ normalize(self.weight, dim=-1).T / self.temperature)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.encoder, name) if name in _OF_THE_ENCODER else super().__getattr__(name)
