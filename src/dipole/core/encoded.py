"""``Encoded``: what every encoder returns, whatever the modality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch


@dataclass(frozen=True, eq=False)
class Encoded:
    """Vectors of B items.

    Shapes: B items, L tokens, d dimensions. Only ``pooled`` is always there.

    ``pooled`` (B, d) one vector an item · ``tokens`` (B, L, d) with ``mask`` (B, L), True where a token counts ·
    ``pre_norm`` (B, d) the pooled vector before normalisation · ``layers`` one (B, L, d) a layer · ``attention`` one
    (B, heads, L, L) a layer · ``logits`` (B, ...) · ``meta`` further tensors with leading B (boxes, spans, times).
    """

    pooled: torch.Tensor
    tokens: torch.Tensor | None = None
    mask: torch.Tensor | None = None
    pre_norm: torch.Tensor | None = None
    layers: tuple[torch.Tensor, ...] = ()
    attention: tuple[torch.Tensor, ...] = ()
    logits: torch.Tensor | None = None
    meta: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pooled)

    @property
    def unnormalised(self) -> torch.Tensor:
        """(B, d) the vectors before normalisation, where the encoder keeps them; else ``pooled``."""
        return self.pooled if self.pre_norm is None else self.pre_norm
