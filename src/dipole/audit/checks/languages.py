"""Which languages each column holds, and the rows that stand out: texts of another language than nearly all of their column."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator

import numpy as np

from dipole.audit.check import Block, Cleaning, Once
from dipole.audit.findings import Finding
from dipole.audit.language.identify import identify
from dipole.audit.source import Source

_MOST = 0.9  # share of a column's surely known texts from which on the others stand out


class Languages(Once):
    """Two bytes a row and column: the first text of each, where its language is sure; and the lengths of all texts."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {"": 0}
        self.rows = array("q")
        self.seen: dict[str, array[int]] = {}
        self.lengths: dict[str, array[int]] = {}

    def see(self, block: Block) -> None:
        self.rows.extend(index for index, _, _ in block)
        for role in ("anchor", "positive", "negative"):
            texts = [item.of(role) for _, item, _ in block]
            if any(texts) or role in self.seen:
                seen = self.seen.setdefault(role, array("h", [0] * (len(self.rows) - len(block))))
                for own in texts:
                    guess = identify(own[0]) if own else None
                    code = guess.code if guess is not None and guess.sure else ""
                    seen.append(self.codes.setdefault(code, len(self.codes)))
                self.lengths.setdefault(role, array("i")).extend(len(text) for own in texts for text in own)

    def findings(self, source: Source, cleaning: Cleaning) -> Iterator[Finding]:
        for role, seen in self.seen.items():
            counts = self._counts(seen)
            main, most = counts.most_common(1)[0] if counts else ("", 0)
            mixed = most < _MOST * counts.total()
            for code, count in counts.most_common()[1:]:
                indices = np.frombuffer(self.rows, np.int64)[np.frombuffer(seen, np.int16) == self.codes[code]].tolist()
                for index in indices:
                    cleaning.drop("language", index, f"{role} in {code}, most are in {main}")
                share = f"{most / counts.total():.1%} in {main}"
                said = f"the {role} column is mixed, {share}; in {code}: {count} texts" if mixed else f"{role} in {code}, {share}"
                yield from source.found("language", indices, said)

    def notes(self) -> list[str]:
        told = []
        for role, seen in self.seen.items():
            counts = self._counts(seen)
            unsure = len(seen) - counts.total()
            mix = ", ".join(f"{code} {count}" for code, count in counts.most_common(8))
            half, most, longest = np.percentile(np.frombuffer(self.lengths[role], np.intc), [50, 95, 100]).tolist()
            sizes = f"characters: half up to {half:.0f}, 95% up to {most:.0f}, longest {longest:.0f}"
            told.append(f"{role}: {sizes}; languages where sure: {mix or 'none'}, not sure of {unsure}")
        return told

    def _counts(self, seen: array[int]) -> Counter[str]:
        """Language -> texts that surely are in it."""
        numbers = np.bincount(np.frombuffer(seen, np.int16), minlength=len(self.codes)).tolist()
        return Counter({code: numbers[number] for code, number in self.codes.items() if code and numbers[number]})
