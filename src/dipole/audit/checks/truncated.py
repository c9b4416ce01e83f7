"""What an encoder would not read: texts longer than its limit, counted with its own tokenizer."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from dipole.audit.check import Block, Cleaning, Once
from dipole.audit.findings import Finding
from dipole.audit.source import Source


class Reader(Protocol):
    """An encoder as far as its tokenizer. ``limit``: tokens a text may have, special ones included."""

    @property
    def name(self) -> str: ...

    @property
    def limit(self) -> int: ...

    def lengths(self, texts: Sequence[str], side: str) -> list[int]:
        """Tokens of each text, special ones and the side's prompt included, nothing cut. ``side``: queries or keys."""
        ...


class Truncated(Once):
    """Four bytes a text."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.tokens: dict[str, array[int]] = {}
        self.cut: list[int] = []  # row indices

    def see(self, block: Block) -> None:
        over: set[int] = set()
        for role in ("anchor", "positive", "negative"):
            owned = [(index, text) for index, item, _ in block for text in item.of(role)]
            if not owned:
                continue
            counts = self.reader.lengths([text for _, text in owned], "queries" if role == "anchor" else "keys")
            self.tokens.setdefault(role, array("i")).extend(counts)
            over.update(index for (index, _), count in zip(owned, counts, strict=True) if count > self.reader.limit)
        self.cut += sorted(over)

    def findings(self, source: Source, cleaning: Cleaning) -> Iterator[Finding]:
        if not self.cut:
            return
        for index in self.cut:
            cleaning.drop("truncated", index, f"longer than the {self.reader.limit} tokens {self.reader.name} reads")
        said = "; ".join(self._said(role) for role, tokens in self.tokens.items() if max(tokens) > self.reader.limit)
        yield from source.found("truncated", self.cut, f"{self.reader.name} reads {self.reader.limit} tokens: {said}")

    def notes(self) -> list[str]:
        return [f"tokens of {self.reader.name}: " + "; ".join(f"{role} {_spread(tokens)}" for role, tokens in self.tokens.items())]

    def _said(self, role: str) -> str:
        tokens = np.frombuffer(self.tokens[role], dtype=np.intc).astype(np.int64)
        over = tokens[tokens > self.reader.limit]
        lost = int((over - self.reader.limit).sum())
        share = f"{len(over)} of {len(tokens)} texts ({len(over) / len(tokens):.1%})"
        return f"{role}: {share} are longer and lose {lost} of {int(tokens.sum())} tokens ({lost / int(tokens.sum()):.1%})"


def _spread(tokens: array[int]) -> str:
    half, most, longest = np.percentile(np.frombuffer(tokens, dtype=np.intc), [50, 95, 100]).tolist()
    return f"half up to {half:.0f}, 95% up to {most:.0f}, longest {longest:.0f}"
