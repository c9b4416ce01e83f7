"""The demo's data: (docstring, body) pairs, cleaned, counted and split by file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dipole.core.errors import DataError
from dipole.core.protocols import Row, Rows


@dataclass(frozen=True)
class CodePairs:
    """Some rows of a data set, as a data set of their own."""

    rows: tuple[Row, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    @property
    def fingerprint(self) -> str:
        """Changes when a text or the order does."""
        return hashlib.sha256(repr([(row["anchor"], row["positive"]) for row in self.rows]).encode()).hexdigest()


@dataclass(frozen=True)
class Split:
    """Rows to learn from and rows to measure on, no file in both; ``found`` before copies were left out."""

    train: CodePairs
    held_out: CodePairs
    found: int
    copies: int
    files: int

    def audit(self, truncated: str) -> str:
        """One line on the pairs."""
        kept = len(self.train) + len(self.held_out)
        return (
            f"{self.found} pairs from {self.files} files, {self.copies} copies left out: {kept} kept, {len(self.train)} to learn from, "
            f"{len(self.held_out)} held out; {truncated}"
        )


def split(rows: Rows, held_out: int, train: int = 0) -> Split:
    """Leave out rows whose docstring or body came before, then hold out whole files until ``held_out`` rows are reached,
    or a quarter of all.

    Files are drawn by the hash of their name, so the same files are held out each time; a file with more than a fifth of
    ``held_out`` stays in training, so that no single file decides the figures. ``train``: rows to learn from at most,
    drawn by hash too; 0 for all. Raises DataError where either half would be too small.
    """
    seen: set[str] = set()
    kept: list[Row] = []
    for row in rows:
        texts = {str(row["anchor"]), str(row["positive"])}
        if not texts & seen:
            kept.append(row)
        seen |= texts
    sizes: dict[str, int] = {}
    for row in kept:
        sizes[row["file"]] = sizes.get(row["file"], 0) + 1
    held_out = min(held_out, len(kept) // 4)
    chosen: set[str] = set()
    count = 0
    for file in sorted(sizes, key=_drawn):
        if count < held_out and sizes[file] <= max(5, held_out // 5):
            chosen.add(file)
            count += sizes[file]
    left = [row for row in kept if row["file"] not in chosen]
    if train:
        left = sorted(left, key=lambda row: _drawn(f"{row['name']}:{row['line']}"))[:train]
    measured = [row for row in kept if row["file"] in chosen]
    if len(measured) < 2 or len(left) < 2:
        raise DataError("too few documented functions to learn from some files and measure on others", value=len(kept))
    return Split(CodePairs(tuple(left)), CodePairs(tuple(measured)), len(rows), len(rows) - len(kept), len(sizes))


def names_of(rows: Sequence[Row]) -> list[str]:
    """One name a row; a name met before gets its line."""
    seen: set[str] = set()
    names = []
    for row in rows:
        name = str(row["name"])
        name = f"{name}:{row['line']}" if name in seen else name
        seen.add(name)
        names.append(name)
    return names


def _drawn(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
