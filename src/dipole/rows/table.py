"""Rows with random access: an Arrow table, in memory while small, memory-mapped from the user's cache when not.

The cache file is named by the content it was made from, written whole or not at all, and can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from dipole.core.extras import need
from dipole.rows.read import records
from dipole.rows.survey import Survey, shaped

IN_MEMORY_BYTES = 64 * 2**20  # files up to this size leave nothing on disk
_BATCH = 2048


def cache_folder() -> Path:
    """``$DIPOLE_CACHE``, or ``dipole`` in the user's cache folder."""
    own = os.environ.get("DIPOLE_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dipole"


def dataset(found: Survey, kinds: dict[str, str], header: bool, kind: str) -> Any:
    """A ``datasets.Dataset`` of one file, every column in its one form."""
    datasets = need("datasets", "text", "reading rows from files")
    pa = need("pyarrow", "text", "reading rows from files")
    schema = pa.schema([(name, _arrow(pa, kinds[name])) for name in kinds])
    batches = _batches(pa, schema, found, kinds, header, kind)
    if found.path.stat().st_size <= IN_MEMORY_BYTES:
        return datasets.Dataset(datasets.table.InMemoryTable.from_batches(list(batches), schema=schema), fingerprint=found.sha256[:32])
    key = hashlib.sha256(repr((found.sha256, sorted(kinds.items()), header, kind, "1")).encode()).hexdigest()
    place = cache_folder() / "rows" / f"{key}.arrow"
    if not place.is_file():
        _write(pa, place, schema, batches)
    return datasets.Dataset.from_file(str(place))


def _write(pa: Any, place: Path, schema: Any, batches: Iterator[Any]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".making.", dir=place.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            with pa.ipc.new_stream(file, schema) as writer:
                for batch in batches:
                    writer.write_batch(batch)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, place)
    except BaseException:
        os.unlink(name)
        raise


def _batches(pa: Any, schema: Any, found: Survey, kinds: dict[str, str], header: bool, kind: str) -> Iterator[Any]:
    source = records(found.path, header, kind)
    while block := list(islice(source, _BATCH)):
        columns = [[shaped(values.get(name), kinds[name]) for _, values in block] for name in kinds]
        yield pa.record_batch([pa.array(c, type=f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)


def _arrow(pa: Any, kind: str) -> Any:
    return {
        "text": pa.large_string(),
        "nested": pa.large_string(),
        "unbounded": pa.large_string(),
        "whole": pa.int64(),
        "number": pa.float64(),
        "switch": pa.bool_(),
        "texts": pa.list_(pa.large_string()),
        "wholes": pa.list_(pa.int64()),
        "numbers": pa.list_(pa.float64()),
    }[kind]
