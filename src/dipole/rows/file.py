"""Rows from a file, or from all data files of a folder: JSONL, CSV, TSV, TXT, Parquet.

A file is read twice: once to check it and to learn its columns, once to make an Arrow table of it, in memory while small
and memory-mapped from the user's cache when not. So a file may be larger than memory, and every error names its line.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dipole.core.errors import UnknownNameError
from dipole.core.extras import need
from dipole.core.part import part, switch, words
from dipole.core.protocols import Row
from dipole.rows.columns import Columns, map_columns, parse_columns
from dipole.rows.read import FORMATS, files_of
from dipole.rows.survey import one_form, settle_separated, survey
from dipole.rows.table import dataset

__all__ = ["File"]
log = logging.getLogger(__name__)


@part
class File:
    """Rows of a file. ``mapping`` says which column became what; other columns keep their names.

    Raises UsageError where the file is missing or its ending unknown, DataError with file, line and column where its
    content cannot be used: empty, not UTF-8, ragged, mixed or wrong types, a missing column.
    """

    path: str = words(about="a file, or a folder whose data files are read in the order of their names")
    columns: str = words("", "roles that the names do not tell: 'anchor=question, positive=answer'")
    header: bool = switch(True, "the first row of CSV and TSV names the columns; without, they are column_1, column_2 ...")
    kind: str = words("", "jsonl, csv, tsv, txt or parquet; empty for what the ending says")

    def __post_init__(self) -> None:
        if self.kind and self.kind not in FORMATS.values():
            raise UnknownNameError("kind of file", self.kind, set(FORMATS.values()), "file")
        files = files_of(Path(self.path).expanduser(), bool(self.kind))
        datasets = need("datasets", "text", "reading rows from files")
        found = [survey(path, self.header, self.kind) for path in files]
        names = tuple(dict.fromkeys(name for one in found for name in one.columns))
        mapping = map_columns(names, parse_columns(self.columns), self.path)
        for one in found:
            if (self.kind or FORMATS[one.path.suffix.lower()]) in ("csv", "tsv"):
                settle_separated(one, mapping)
        kinds = one_form(found, mapping)
        tables = [dataset(one, kinds, self.header, self.kind) for one in found]
        whole = tables[0] if len(tables) == 1 else datasets.concatenate_datasets(tables)
        digest = hashlib.sha256(repr([one.sha256 for one in found]).encode())
        digest.update(repr((sorted(mapping.roles.items()), self.header, self.kind)).encode())
        object.__setattr__(self, "_open", _Open(mapping, whole, digest.hexdigest()))
        log.info("%s: %d rows, %s", self.path, len(whole), mapping.text())

    @property
    def mapping(self) -> Columns:
        """Which column plays which role; ``mapping.text()`` says it in a line."""
        return _opened(self).mapping

    def __len__(self) -> int:
        return len(_opened(self).table)

    def __getitem__(self, index: int) -> Row:
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        return self.mapping.row(_opened(self).table[index])

    def __iter__(self) -> Iterator[Row]:
        for block in _opened(self).table.iter(1000):
            names = list(block)
            for values in zip(*block.values(), strict=True):
                yield self.mapping.row(dict(zip(names, values, strict=True)))

    @property
    def fingerprint(self) -> str:
        """sha256 of the files' content, in order, and of how it is read; where the files lie does not matter."""
        return _opened(self).fingerprint


@dataclass(frozen=True, eq=False)
class _Open:
    mapping: Columns
    table: Any
    fingerprint: str


def _opened(file: File) -> _Open:
    state: _Open = vars(file)["_open"]
    return state
