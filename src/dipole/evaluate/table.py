"""A file of an evaluation as rows with line numbers, columns by name, and errors that say where.

Evaluation sets are small, so they are read into memory; formats and column names are those of :mod:`dipole.rows`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dipole.core.errors import DataError, UsageError
from dipole.rows.columns import Columns, map_columns, parse_columns
from dipole.rows.read import FORMATS, files_of, records

SPLITS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "dev": ("dev", "validation", "valid", "val"),
    "test": ("test", "eval"),
}


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of one file. ``rows`` map a role (``anchor``, ``label`` ...) or another column's name to its value."""

    path: Path
    lines: Sequence[int]
    rows: Sequence[Mapping[str, Any]]
    columns: Columns

    def __len__(self) -> int:
        return len(self.rows)

    def has(self, role: str) -> bool:
        """Whether the file has a column for this role, or of this name."""
        return role in self.columns.roles or role in self.columns.names

    def need(self, role: str, name: str = "") -> None:
        """Raise DataError, with what the columns are, unless the file has the role; ``name``: what to call its column."""
        if not self.has(role):
            shown = ", ".join(repr(column) for column in self.columns.names)
            raise DataError(f"no column holds the {role}: the columns are {shown}", path=self.path, remedy=f"call it {name or role!r}")

    def texts(self, role: str) -> list[str]:
        """One text a row. Raises DataError with line and column for an empty value or one that is no text."""
        self.need(role)
        return [self._text(role, place, row.get(role)) for place, row in enumerate(self.rows)]

    def lists(self, role: str) -> list[list[str]]:
        """A list of texts a row, from a list, a single text, or nothing."""
        found = []
        for place, row in enumerate(self.rows):
            value = row.get(role)
            several = value if isinstance(value, (list, tuple)) else ([] if value in (None, "") else [value])
            found.append([self._text(role, place, one) for one in several])
        return found

    def labels(self, role: str = "label") -> list[str]:
        """One label a row, as a text: whole numbers and texts alike. An empty one raises DataError."""
        self.need(role)
        found = []
        for place, row in enumerate(self.rows):
            value = row.get(role)
            if isinstance(value, bool) or not isinstance(value, (str, int)) or not str(value).strip():
                raise self.error(place, role, "a label must be a text or a whole number and not empty", value)
            found.append(str(value).strip())
        return found

    def numbers(self, role: str) -> list[float]:
        """One finite number a row. Raises DataError with line and column for anything else."""
        self.need(role)
        found = []
        for place, row in enumerate(self.rows):
            number = finite(row.get(role))
            if number is None:
                raise self.error(place, role, f"the {role} must be a finite number", row.get(role))
            found.append(number)
        return found

    def error(self, place: int, role: str, rule: str, value: Any = None, remedy: str = "") -> DataError:
        """A DataError that names the file, and the line and column of a row's value."""
        column = (self.columns.roles.get(role) or (role,))[0]
        return DataError(rule, path=self.path, line=self.lines[place], column=column, value=value, remedy=remedy)

    def _text(self, role: str, place: int, value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise self.error(place, role, f"{role} must be a text and not empty", value, "fill it or remove the line")
        return value


def read_table(path: str | Path, columns: str = "") -> Table:
    """The rows of one data file. ``columns``: ``'anchor=question, label=intent'`` where the names do not tell.

    Raises UsageError where the file is missing or its ending unknown, DataError where it is empty, broken, or no column can
    be the anchor.
    """
    place = Path(path).expanduser()
    if place.is_dir():
        raise UsageError(f"{place}: a file is needed here, not a folder")
    files_of(place)
    lines, values = [], []
    for line, record in records(place):
        lines.append(line)
        values.append(record)
    if not values:
        raise DataError("the file has no rows", path=place, remedy="give a file with at least one row")
    names = tuple(dict.fromkeys(name for record in values for name in record))
    mapping = map_columns(names, parse_columns(columns), str(place))
    return Table(place, lines, [mapping.row(record) for record in values], mapping)


def find_split(folder: Path, names: Sequence[str]) -> Path | None:
    """The folder's data file whose stem is one of ``names``. Raises UsageError where several are."""
    there = [p for p in sorted(folder.iterdir()) if p.is_file() and p.suffix.lower() in FORMATS and p.stem.lower() in names]
    if len(there) > 1:
        raise UsageError(f"{folder}: {there[0].name} and {there[1].name} are both the {names[0]} split; keep one")
    return there[0] if there else None


def splits(place: str | Path) -> dict[str, Table]:
    """``train``, ``dev`` and ``test`` of a folder, as far as they are there; a single file is ``test``.

    Raises UsageError where there is no test split.
    """
    path = Path(place).expanduser()
    if not path.is_dir():
        return {"test": read_table(path)}
    found = {split: file for split, names in SPLITS.items() if (file := find_split(path, names)) is not None}
    if "test" not in found:
        raise UsageError(f"{path}: the folder must hold test.jsonl (or .csv, .tsv, .parquet)")
    return {split: read_table(file) for split, file in found.items()}


def finite(value: Any) -> float | None:
    """The value as a finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
