"""How many tokens texts have for an encoder, nothing cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dipole.modality.text.encoders.transformer import Transformer


@dataclass(frozen=True, eq=False)
class TokenCounts:
    """An encoder as far as its tokenizer; what :class:`dipole.audit.checks.truncated.Truncated` counts with."""

    name: str
    encoder: Transformer

    @property
    def limit(self) -> int:
        """Tokens a text may have, special ones included."""
        return self.encoder.limit

    def lengths(self, texts: Sequence[str], side: str) -> list[int]:
        """Tokens of each text, special ones and the side's prompt included."""
        prompt = self.encoder.prompt(side)
        found = self.encoder.tokenizer([prompt + text for text in texts], truncation=False, padding=False, verbose=False)
        return [len(ids) for ids in found["input_ids"]]
