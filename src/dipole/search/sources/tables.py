"""Rows of JSONL, CSV, TSV and Parquet. The text is the column of that role, or ``text``, ``abstract``, ``body``, ``content``.

A record that cannot be used is refused by its line; a file that cannot be read at all raises, as it does for training.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dipole.core.errors import DataError
from dipole.rows.read import records
from dipole.search.documents import document_of
from dipole.search.sources.names import content_id
from dipole.search.sources.refused import Found, Refused

TEXTS = ("text", "abstract", "summary", "body", "content", "anchor", "description")
IDS = ("id", "_id", "paper_id", "key", "doi")


def read(path: Path) -> Found:
    """One document a record."""
    try:
        for line, record in records(path):
            yield one(path, line, record)
    except DataError as error:
        yield Refused(str(path), str(error))


def one(path: Path, line: int, record: Mapping[str, Any]) -> Any:
    """The record as a document, or refused."""
    place = f"{path}:{line}"
    text_column = next((name for name in TEXTS if isinstance(record.get(name), str) and record[name].strip()), "")
    title = str(record.get("title") or "").strip()
    if not text_column and not title:
        return Refused(place, f"no text: none of the columns {', '.join(TEXTS)}, title holds one")
    text = str(record[text_column]).strip() if text_column else title
    id_column = next((name for name in IDS if record.get(name) not in (None, "")), "")
    id = str(record[id_column]) if id_column else content_id(title, text)
    rest = {k: v for k, v in record.items() if k not in (text_column, id_column)}
    try:
        return document_of(id, text, rest)
    except ValueError as error:
        return Refused(place, str(error))
