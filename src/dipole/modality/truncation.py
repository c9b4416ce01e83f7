"""What an encoder had to cut off, counted, so that nobody loses text silently."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Truncation:
    """How many texts were cut to ``max_tokens`` since the last reset, of how many seen. Where nothing is ever cut, all three are 0."""

    max_tokens: int = 0
    truncated: int = 0
    seen: int = 0

    def reset(self) -> None:
        self.truncated = self.seen = 0

    def __int__(self) -> int:
        return self.truncated

    def __str__(self) -> str:
        share = f" ({self.truncated / self.seen:.1%})" if self.seen else ""
        return f"{self.truncated} of {self.seen} texts{share} cut to {self.max_tokens} tokens"
