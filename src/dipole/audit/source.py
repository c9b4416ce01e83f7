"""Rows as an audit reads them: block by block, from one file or several, broken rows included.

A row's index counts over all files, from 0; its number is the line an editor shows (for Parquet its place in the file, from 1).
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from dipole.audit.findings import Finding
from dipole.core.errors import DataError
from dipole.rows.columns import Columns, map_columns, parse_columns
from dipole.rows.read import FORMATS, files_of, records

BLOCK = 4096
TEXTS = ("anchor", "positive", "negative")


@dataclass(frozen=True, slots=True)
class Item:
    """A row: its texts by role, its label (any value, in words) and score. ``problem``: why it cannot be used; empty: it can."""

    texts: Mapping[str, tuple[str, ...]]
    label: str = ""
    score: str = ""
    problem: str = ""

    def of(self, role: str) -> tuple[str, ...]:
        """The texts of a role, none where it has none."""
        return self.texts.get(role, ())


@dataclass
class Source:
    """The rows of files whose columns are known. Reading it once through fills ``numbers`` and ``starts``."""

    files: Sequence[Path]
    columns: Columns
    header: bool = True
    numbers: array[int] = field(default_factory=lambda: array("q"))
    starts: list[int] = field(default_factory=list)

    @property
    def roles(self) -> tuple[str, ...]:
        """The text roles the columns fill."""
        return tuple(role for role in TEXTS if role in self.columns.roles)

    def blocks(self) -> Iterator[list[Item]]:
        """All rows in order, at most 4096 at a time. A row that cannot be read is an item with a problem, in its place."""
        self.numbers, self.starts = array("q"), []
        for path in self.files:
            self.starts.append(len(self.numbers))
            numbered = self._items(path)
            while block := list(islice(numbered, BLOCK)):
                self.numbers.extend(number for number, _ in block)
                yield [item for _, item in block]

    def where(self, index: int) -> tuple[int, int]:
        """(number of the file, row number) of a row index."""
        return bisect_right(self.starts, index) - 1, self.numbers[index]

    def found(self, kind: str, indices: Sequence[int], said: str) -> Iterator[Finding]:
        """A finding about rows: one for each file that holds some of them."""
        by_file: dict[int, list[int]] = {}
        for index in indices:
            file, number = self.where(index)
            by_file.setdefault(file, []).append(number)
        for file, numbers in by_file.items():
            yield Finding(kind, tuple(numbers), said, self.files[file].name if len(self.files) > 1 else "")

    def named(self, index: int) -> str:
        """``row 7``, or ``b.jsonl row 7`` where there are several files."""
        file, number = self.where(index)
        return f"{self.files[file].name} row {number}" if len(self.files) > 1 else f"row {number}"

    def _items(self, path: Path) -> Iterator[tuple[int, Item]]:
        failed: list[DataError] = []
        for number, values in records(path, self.header, broken=failed.append):
            yield from _unread(failed)
            yield number, self.item(values)
        yield from _unread(failed)

    def item(self, values: Mapping[str, Any]) -> Item:
        """A record's values by role, and what is wrong with them."""
        row = self.columns.row(values)
        texts: dict[str, tuple[str, ...]] = {}
        problem = ""
        for role in self.roles:
            value = row.get(role)
            if isinstance(value, str):
                texts[role] = (value,) if value.strip() else ()
            elif value is None or isinstance(value, (list, tuple)):
                texts[role] = tuple(v for v in value or () if isinstance(v, str) and v.strip())
                if any(not isinstance(v, str) and v is not None for v in value or ()):
                    problem = f"{role} holds something that is no text"
            else:
                texts[role], problem = (), f"{role} must be a text, not {value!r}"
            if not texts[role] and role != "negative":
                problem = problem or f"{role} is empty"
        label, score = row.get("label"), row.get("score")
        return Item(texts, "" if label is None else str(label), "" if score is None else str(score), problem)


def open_source(data: Sequence[str | Path], columns: str = "", header: bool = True) -> Source:
    """The files, and which of their columns plays which role. ``columns``: 'anchor=question, positive=answer' where names do not tell.

    Raises UsageError for a missing file or unknown ending, DataError for a file without any row or a column that is not there.
    """
    files = [path for place in data for path in files_of(Path(place).expanduser())]
    names: dict[str, None] = {}
    for path in files:
        if path.stat().st_size == 0:
            raise DataError("the file is empty", path=path, remedy="give a file with at least one row")
        count = 0
        for count, (_, values) in enumerate(records(path, header, broken=lambda error: None), 1):
            names.update(dict.fromkeys(values))
            if count == 1 and FORMATS[path.suffix.lower()] != "jsonl":
                break  # every record has the same columns
        if count == 0:
            raise DataError("the file has no row that can be read", path=path, remedy="give a file with at least one row")
    where = str(files[0]) if len(files) == 1 else ""
    return Source(files, map_columns(tuple(names), parse_columns(columns), where), header)


def _unread(failed: list[DataError]) -> Iterator[tuple[int, Item]]:
    for error in failed:
        yield error.line or 0, Item({}, problem=f"cannot be read: {_without_place(error)}")
    failed.clear()


def _without_place(error: DataError) -> str:
    place = f"{error.path}:{error.line}: "
    return str(error).removeprefix(place)
