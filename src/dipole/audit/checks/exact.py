"""Rows that cannot be used, and rows that are there more than once."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import numpy as np

from dipole.audit.check import Block, Cleaning, Once, groups
from dipole.audit.content import of_row
from dipole.audit.findings import Finding
from dipole.audit.source import Item, Source


class Empty(Once):
    """Rows with a problem; the audit hands these over one by one, no block holds them."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, str]] = []

    def see(self, block: Block) -> None:
        """Rows of blocks have no problem."""

    def add(self, index: int, item: Item) -> None:
        self.rows.append((index, item.problem))

    def findings(self, source: Source, cleaning: Cleaning) -> Iterator[Finding]:
        for index, problem in self.rows:
            cleaning.drop("empty", index, problem)
            yield from source.found("empty", [index], problem)


class Duplicates(Once):
    """Equal texts, label and score; and a positive that is its own anchor, where no score says that this is meant."""

    def __init__(self) -> None:
        self.keys, self.at = array("q"), array("q")
        self.own: list[int] = []

    def see(self, block: Block) -> None:
        for index, item, texts in block:
            self.keys.append(of_row(item, texts))
            self.at.append(index)
            if not item.score and len({text for role, text in texts if role == "anchor"} & {t for role, t in texts if role == "positive"}):
                self.own.append(index)

    def copies(self) -> Iterator[list[int]]:
        """Row indices of each group of equal rows."""
        at = np.frombuffer(self.at, dtype=np.int64)
        for places in groups(np.frombuffer(self.keys, dtype=np.int64)):
            yield at[places].tolist()

    def findings(self, source: Source, cleaning: Cleaning) -> Iterator[Finding]:
        for rows in self.copies():
            first = source.named(rows[0])
            for index in rows[1:]:
                cleaning.drop("duplicate", index, f"the same as {first}", rows[0])
            yield from source.found("duplicate", rows, f"the same content as {first}, {len(rows)} rows in all")
        for index in self.own:
            cleaning.drop("duplicate", index, "the positive is the anchor itself")
            yield from source.found("duplicate", [index], "the positive is the anchor itself")
