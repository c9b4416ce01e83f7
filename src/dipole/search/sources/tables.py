"""Rows of JSONL, CSV, TSV and Parquet. The text is the column of that role, or ``text``, ``abstract``, ``body``, ``content``.

A record that cannot be used, or read, is refused by its line, and reading goes on; so one line does not cost the rest of the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dipole.core.errors import DataError, short
from dipole.rows.read import records
from dipole.search.documents import document_of
from dipole.search.sources.names import content_id
from dipole.search.sources.refused import Found, Refused

TEXTS = ("text", "abstract", "summary", "body", "content", "anchor", "description")
IDS = ("id", "_id", "paper_id", "key", "doi")


def read(path: Path) -> Found:
    """One document a record."""
    broken: list[DataError] = []
    try:
        for line, record in records(path, broken=broken.append):
            yield from _told(path, broken)
            yield one(path, line, record)
    except DataError as error:  # a header or a file that tells nothing
        broken.append(error)
    yield from _told(path, broken)


def _told(path: Path, broken: list[DataError]) -> Found:
    """What could not be read since last asked."""
    for error in broken:
        place = str(path) if error.line is None else f"{path}:{error.line}"
        yield Refused(place, str(error).removeprefix(f"{place}: "))
    broken.clear()


def one(path: Path, line: int, record: Mapping[str, Any]) -> Any:
    """The record as a document, or refused."""
    place = f"{path}:{line}"
    record = {name: value for name, value in record.items() if value == value}  # NaN is what pandas writes for nothing
    text_column = next((name for name in TEXTS if isinstance(record.get(name), str) and record[name].strip()), "")
    title = str(record.get("title") or "").strip()
    if not text_column and not title:
        return Refused(place, f"no text: none of the columns {', '.join(TEXTS)}, title holds one")
    text = str(record[text_column]).strip() if text_column else title
    own = {name: record[name] for name in IDS if record.get(name) not in (None, "", [], {})}
    id_column = next((name for name, value in own.items() if str(value).strip()), "")
    if id_column and isinstance(own[id_column], (dict, list, tuple, bytes)):
        return Refused(place, f"the column {id_column!r} must be a text or a number, got {short(own[id_column])}")
    id = str(own[id_column]).strip() if id_column else content_id(title, text)
    rest = {k: v for k, v in record.items() if k not in (text_column, id_column) and (k not in IDS or k in own)}
    try:
        return document_of(id, text, rest)
    except ValueError as error:
        return Refused(place, str(error))
