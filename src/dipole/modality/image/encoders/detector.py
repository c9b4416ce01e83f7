"""Detector: a transformer reads the feature tokens of an image, and learned queries read the transformer: one prediction a query.

    M = encoder(A x)      p = H(decoder(Q; M))      with objects o: O, M' = two_way(B o, M),   p' = H(decoder(Q; M'))

Shapes: tokens x (B, L, f) of a backbone, which say themselves where they are (any positions are added before); ``tokens`` (B, Q, d) the
predictions p; while items have objects o (n, e), ``meta`` has ``enhanced`` p' (B, Q, d), ``objects`` O (B, n, d) and ``objects_mask``
(B, n). ``pooled``: the mean prediction, a unit vector. Source: DETR, arXiv:2005.12872, without its boxes and classes; the objects and
the second way of reading: MutDet, arXiv:2407.09920. Relation: ``matched`` compares predictions and objects.

What is saved, evaluated and searched with needs no objects: it is p. Errors: DataError for items of another shape; ParameterError
where heads do not divide the dimension.
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
from dipole.core.part import at_least, part
from dipole.modality import weights
from dipole.modality.image.two_way import TwoWay
from dipole.modality.truncation import Truncation

__all__ = ["Detector"]


@part
class Detector(weights.Plain):
    """Items ``{"tokens": (L, f), "objects": (n, e)}`` -> predictions. ``objects`` may be left out of all items of a batch."""

    dimension: int = at_least(1, 256, "d, a multiple of heads")
    features: int = at_least(1, 2048, "f, the length of a feature token")
    objects: int = at_least(1, 256, "e, the length of an object's embedding")
    queries: int = at_least(1, 300, "Q, predictions of an image")
    layers: int = at_least(1, 6, "of the encoder, and of the decoder")
    heads: int = at_least(1, 8, "attention heads")
    depth: int = at_least(1, 3, "layers in which objects and tokens read each other")
    mlp: int = at_least(1, 2048, "width of all networks between attentions")

    def __post_init__(self) -> None:
        d = self.dimension
        if d % self.heads:
            raise ParameterError("image.detector", "heads", f"a divisor of dimension, {d}", self.heads)
        self.from_tokens, self.from_objects = nn.Linear(self.features, d), nn.Linear(self.objects, d)
        self.asked = nn.Parameter(torch.randn(self.queries, d))
        reads = nn.TransformerEncoderLayer(d, self.heads, self.mlp, 0.0, batch_first=True)
        finds = nn.TransformerDecoderLayer(d, self.heads, self.mlp, 0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(reads, self.layers, enable_nested_tensor=False)
        self.decoder = nn.TransformerDecoder(finds, self.layers)
        for weight in [w for half in (self.encoder, self.decoder) for w in half.parameters() if w.dim() > 1]:
            nn.init.xavier_uniform_(weight)  # torch copies one layer; each draws weights of its own
        self.two_way = TwoWay(d, self.heads, self.depth, self.mlp)
        self.head = nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, d))
        self.truncated = Truncation()

    def prepare(self, items: Sequence[Any], side: str = "queries") -> Mapping[str, torch.Tensor]:
        """``tokens`` (B, L, f) and ``there`` (B, L); with objects ``objects`` (B, n, e) and ``held`` (B, n), n at least 1."""
        tokens, there = self._padded(items, "tokens", self.features, side)
        if not any(isinstance(item, Mapping) and "objects" in item for item in items):
            return {"tokens": tokens, "there": there}
        objects, held = self._padded(items, "objects", self.objects, side)
        return {"tokens": tokens, "there": there, "objects": objects, "held": held}

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Encoded:
        """The predictions of prepared inputs."""
        there = inputs["there"]
        memory = self.encoder(self.from_tokens(inputs["tokens"]), src_key_padding_mask=~there)
        found = self._decoded(memory, there)
        meta = {}
        if "objects" in inputs:
            objects, enhanced = self.two_way(self.from_objects(inputs["objects"]), memory, inputs["held"], there)
            meta = {"enhanced": self._decoded(enhanced, there), "objects": objects, "objects_mask": inputs["held"]}
        mask = torch.ones(found.shape[:2], dtype=torch.bool, device=found.device)
        before = found.mean(1)
        return Encoded(normalize(before, dim=-1), found, mask, before, meta=meta)

    def _decoded(self, memory: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        asked = self.asked.expand(len(memory), -1, -1)
        found: torch.Tensor = self.head(self.decoder(asked, memory, memory_key_padding_mask=~there))
        return found

    def _padded(self, items: Sequence[Any], name: str, length: int, side: str) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, most, length) float32, and where there is something."""
        found = []
        for place, item in enumerate(items):
            value = item.get(name) if isinstance(item, Mapping) else None
            if not isinstance(value, torch.Tensor) or value.dim() != 2 or value.shape[1] != length or (name == "tokens" and not len(value)):
                rule = f"image.detector, {side}: item {place} must have {name}, a tensor (number, {length})"
                shape = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
                raise DataError(
                    rule,
                    value=shape,
                    remedy=f"give all items {name} of that length, or set {'features' if name == 'tokens' else 'objects'}",
                )
            found.append(value.to(torch.float32))
        counts = torch.tensor([len(value) for value in found])
        padded = pad_sequence([*found, torch.zeros(1, length)], batch_first=True)[:-1]  # one more, so that there is a place at least
        return padded, torch.arange(padded.shape[1]) < counts[:, None]
