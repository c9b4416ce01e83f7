"""A collection's folder: LanceDB tables, and one small file that says which of them counts.

    FOLDER/collection.json     the manifest: model, dimension, table, its version, rows
    FOLDER/rows-<hex>.lance/   the table (id, text, metadata as JSON, vector)

A reader follows the manifest only. A writer fills a new table, or adds a version to the present one, and then replaces the
manifest in one step: before that step everything is as it was, whatever ended the process. What a killed writer left
behind is removed by the next one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dipole.core.errors import DataError, UsageError
from dipole.core.extras import need
from dipole.search.documents import Document

_MANIFEST = "collection.json"
_SCHEMA = 1
_READ_ROWS = 8192

Block = tuple[Sequence[Document], torch.Tensor]


@dataclass(frozen=True)
class Manifest:
    """What counts: which table at which version, and the model its vectors come from."""

    model: str
    identity: str
    dimension: int
    rows: int
    table: str
    version: int
    schema: int = _SCHEMA


def exists(folder: Path) -> bool:
    """Whether there is a collection."""
    return (folder / _MANIFEST).is_file()


def read_manifest(folder: Path) -> Manifest:
    """The manifest. Raises UsageError where there is no collection, DataError where the file is damaged."""
    path = folder / _MANIFEST
    if not path.is_file():
        raise UsageError(f"{folder} is not a collection; make one with: dipole index {folder} --data FILE")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        manifest = Manifest(**found)
    except (ValueError, TypeError) as error:
        raise DataError("the manifest is damaged", path=path, value=str(error), remedy="rebuild with: dipole index --rebuild") from error
    if manifest.schema != _SCHEMA:
        raise DataError(f"collections of schema {_SCHEMA} are read here", path=path, value=manifest.schema, remedy="update dipole")
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest in one step; it is on the disk when this returns."""
    unfinished = folder / f".{_MANIFEST}.{uuid.uuid4().hex[:8]}"
    try:
        with open(unfinished, "w", encoding="utf-8") as file:
            json.dump(dataclasses.asdict(manifest), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, folder / _MANIFEST)
    finally:
        unfinished.unlink(missing_ok=True)
    _sync(folder)


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Keep other writers out of the folder; leftovers of killed writers are gone on entry. The system frees the lock."""
    new = not folder.exists()
    if not new and not folder.is_dir():
        raise UsageError(f"{folder} is a file; a collection is a folder")
    if not new and not exists(folder) and any(not _ours(entry.name) for entry in folder.iterdir()):
        raise UsageError(f"{folder} holds other files and is not a collection; give a new or an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"{folder} is being written by another process; wait for it") from None
        try:
            remove_leftovers(folder)
            yield
        finally:
            remove_leftovers(folder)
            if not exists(folder):  # nothing came of it: leave no trace
                (folder / ".lock").unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    folder.rmdir()


def _ours(name: str) -> bool:
    return name == ".lock" or name.startswith(f".{_MANIFEST}.") or (name.startswith("rows-") and name.endswith(".lance"))


def remove_leftovers(folder: Path) -> None:
    """Delete tables and half-written files that no manifest names."""
    import shutil

    kept = f"{read_manifest(folder).table}.lance" if exists(folder) else ""
    for entry in folder.iterdir():
        if entry.name != ".lock" and entry.name != kept and _ours(entry.name):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def write_new(folder: Path, blocks: Iterable[Block], dimension: int) -> tuple[str, int]:
    """Fill a new table; returns its name and version. It does not count until a manifest names it."""
    name = f"rows-{uuid.uuid4().hex[:12]}"
    stream = _Stream(blocks)
    with stream.errors(folder):
        table = _connect(folder).create_table(name, data=stream.reader(dimension), schema=_table_schema(dimension))
    return name, _settled(folder, name, table)


def write_more(folder: Path, manifest: Manifest, blocks: Iterable[Block]) -> tuple[str, int]:
    """Add to the present table; returns its name and new version. What a killed writer had added is left out."""
    table = open_table(folder, manifest)
    stream = _Stream(blocks)
    with stream.errors(folder):
        table.restore()
        table.add(stream.reader(manifest.dimension))
    return manifest.table, _settled(folder, manifest.table, table)


def open_table(folder: Path, manifest: Manifest) -> Any:
    """The LanceDB table at the version that counts."""
    try:
        table = _connect(folder).open_table(manifest.table)
        table.checkout(manifest.version)
    except (ValueError, OSError, RuntimeError) as error:
        remedy = "rebuild with: dipole index --rebuild"
        raise DataError(
            "the collection's table is missing or damaged", path=folder / manifest.table, value=str(error), remedy=remedy
        ) from error
    return table


def read_vectors(table: Any) -> Iterator[torch.Tensor]:
    """The vectors in order, a block of (n, d) float32 at a time."""
    import numpy as np

    for batch in table.search().select(["vector"]).to_batches(_READ_ROWS):
        column = batch.column("vector")
        flat = column.flatten().to_numpy(zero_copy_only=False)
        yield torch.from_numpy(np.array(flat, dtype=np.float32)).view(len(column), -1)


def read_ids(table: Any) -> Iterator[str]:
    """The ids in order."""
    for batch in table.search().select(["id"]).to_batches(_READ_ROWS):
        yield from batch.column("id").to_pylist()


def read_documents(table: Any, places: Sequence[int]) -> dict[int, Document]:
    """The documents at these places (from 0)."""
    wanted = sorted(set(places))
    if not wanted:
        return {}
    found = table.take_offsets(wanted).select(["id", "text", "metadata"]).to_arrow().to_pylist()
    return {place: Document(row["id"], row["text"], json.loads(row["metadata"])) for place, row in zip(wanted, found, strict=True)}


def _connect(folder: Path) -> Any:
    return need("lancedb", "search", "a collection").connect(str(folder))


def _table_schema(dimension: int) -> Any:
    arrow = need("pyarrow", "search", "a collection")
    vector = arrow.list_(arrow.float32(), dimension)
    return arrow.schema([("id", arrow.string()), ("text", arrow.string()), ("metadata", arrow.string()), ("vector", vector)])


class _Stream:
    """Blocks as Arrow batches, made when Lance asks. What goes wrong in making them comes out of Lance as itself."""

    def __init__(self, blocks: Iterable[Block]) -> None:
        self.blocks = blocks
        self.failure: BaseException | None = None

    def reader(self, dimension: int) -> Any:
        """The batches, one at a time."""
        import pyarrow as arrow

        schema = _table_schema(dimension)
        return arrow.RecordBatchReader.from_batches(schema, self._batches(schema, dimension))

    def _batches(self, schema: Any, dimension: int) -> Iterator[Any]:
        import pyarrow as arrow

        try:
            for documents, vectors in self.blocks:
                flat = arrow.array(vectors.detach().to(torch.float32).contiguous().view(-1).numpy())
                metadata = [json.dumps(dict(d.metadata), ensure_ascii=False, default=str) for d in documents]
                columns = [
                    arrow.array([d.id for d in documents], arrow.string()),
                    arrow.array([d.text for d in documents], arrow.string()),
                    arrow.array(metadata, arrow.string()),
                    arrow.FixedSizeListArray.from_arrays(flat, dimension),
                ]
                yield arrow.record_batch(columns, schema=schema)
        except BaseException as error:
            self.failure = error
            raise

    @contextlib.contextmanager
    def errors(self, folder: Path) -> Iterator[None]:
        """Raise what the blocks raised, and DataError for what Lance could not write."""
        try:
            yield
        except Exception as error:
            if self.failure is not None:
                raise self.failure from None
            if not isinstance(error, OSError | RuntimeError | ValueError):
                raise
            remedy = "look at the room on the disk and the folder's rights; the collection is as it was before"
            raise DataError("the collection could not be written", path=folder, value=str(error), remedy=remedy) from error


def _settled(folder: Path, name: str, table: Any) -> int:
    """The table's version, once its files are on the disk."""
    for file in (folder / f"{name}.lance").rglob("*"):
        _sync(file)
    return int(table.version)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
