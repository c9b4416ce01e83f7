"""Negatives that are positives, by content: of their own row, or of another row with the same anchor."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from dipole.audit.check import Block, Cleaning, shown
from dipole.audit.content import key
from dipole.audit.findings import Finding
from dipole.audit.source import Source


class Negatives:
    """Pairs of anchor and positive, and of anchor and negative, as 64-bit keys: 8 bytes each, and 8 for the row."""

    def __init__(self) -> None:
        self.positives, self.positive_rows = array("q"), array("q")
        self.negatives, self.negative_rows = array("q"), array("q")
        self.same: list[tuple[int, str]] = []  # the negative is the anchor
        self.found: list[tuple[int, str, int]] = []  # row, negative, row it is a positive of
        self._flagged: dict[int, dict[int, int]] = {}  # row -> key of a negative -> the row it is a positive of

    def see(self, block: Block) -> None:
        for index, _, texts in block:
            anchor = texts[0][1]
            for role, text in texts[1:]:
                if role == "positive":
                    self.positives.append(key(anchor, text))
                    self.positive_rows.append(index)
                elif text == anchor:
                    self.same.append((index, text))
                else:
                    self.negatives.append(key(anchor, text))
                    self.negative_rows.append(index)

    def wants(self) -> Collection[int]:
        positives, negatives = (np.frombuffer(a, dtype=np.int64) for a in (self.positives, self.negatives))
        if not len(positives) or not len(negatives):
            return ()
        order = np.argsort(positives, kind="stable")
        ordered: Any = positives[order]
        place = np.minimum(np.searchsorted(ordered, negatives), len(ordered) - 1)
        for at in np.flatnonzero(ordered[place] == negatives).tolist():
            owner = self.negative_rows[at]
            self._flagged.setdefault(owner, {})[self.negatives[at]] = self.positive_rows[int(order[place[at]])]
        return self._flagged.keys()

    def see_again(self, block: Block) -> None:
        for index, _, texts in block:
            flagged = self._flagged.get(index, {})
            anchor = texts[0][1]
            own = {text for role, text in texts if role == "positive"}
            for role, text in texts[1:]:
                if flagged and role == "negative" and (of := flagged.get(key(anchor, text))) is not None:
                    self.found.append((index, text, index if text in own else of))

    def findings(self, source: Source, cleaning: Cleaning) -> Iterator[Finding]:
        said = [(index, text, "the anchor itself") for index, text in self.same]
        for index, text, of in self.found:
            said.append((index, text, "its own positive" if of == index else f"a positive of the same anchor in {source.named(of)}"))
        for index, text, what in sorted(said):
            cleaning.negatives.setdefault(index, []).append(text)
            yield from source.found("positive-as-negative", [index], f"a negative is {what}: {shown(text)}")

    def notes(self) -> list[str]:
        return []
