"""A collection's LanceDB table: documents as columns, vectors beside them, read a block at a time.

id, text, title, authors, date, url, votes, tags, metadata (JSON), facets (for filters), hash, vector
title_vector and tokens where the collection has those vectors
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dipole.core.errors import DataError
from dipole.core.extras import need
from dipole.core.files import sync
from dipole.search.documents import Document
from dipole.search.filters import facets_of, quoted
from dipole.search.manifest import Manifest, could_not_be_written
from dipole.search.places import Place, storage_options

READ_ROWS = 8192
_KNOWN, _SHORT = 4096, 10_000  # documents remembered, and the characters of the longest of them
FIELDS = ("id", "text", "title", "authors", "date", "url", "votes", "tags", "metadata")


@dataclass(frozen=True, eq=False)
class Block:
    """Documents and their vectors: ``body`` (n, d); ``title`` (n, d) and ``tokens`` n times (L, d) where wanted."""

    documents: Sequence[Document]
    body: torch.Tensor
    title: torch.Tensor | None = None
    tokens: Sequence[torch.Tensor] | None = None

    @property
    def dimension(self) -> int:
        return int(self.body.shape[1])


def new_name() -> str:
    """A name no table has had."""
    return f"rows-{uuid.uuid4().hex[:12]}"


def write_new(folder: Path, blocks: Iterable[Block], dimension: int, vectors: Sequence[str]) -> tuple[str, int]:
    """Fill a new table; returns its name and version. It does not count until a manifest names it."""
    name = new_name()
    stream = _Stream(blocks)
    with stream.errors(folder):
        schema = schema_of(dimension, vectors)
        table = _connect(folder).create_table(name, data=stream.reader(schema), schema=schema)
    return name, settled(folder, name, table)


def write_more(folder: Path, manifest: Manifest, blocks: Iterable[Block], *, replace: bool = False) -> int:
    """Add to the present table, or with ``replace`` put documents in the place of those with their ids; its new version.

    What a killed writer had added is left out.
    """
    table = opened(folder, manifest)
    stream = _Stream(blocks)
    schema = schema_of(manifest.dimension, manifest.vectors)
    with stream.errors(folder):
        table.restore()
        if replace:
            builder = table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            for batch in stream.reader(schema):
                builder.execute(need("pyarrow", "search", "a collection").Table.from_batches([batch]))
        else:
            table.add(stream.reader(schema))
    return settled(folder, manifest.table, table)


def copy(folder: Path, manifest: Manifest) -> tuple[str, int]:
    """The rows that count in a new table, without its past; its name and version."""
    arrow = need("pyarrow", "search", "a collection")
    name, schema = new_name(), schema_of(manifest.dimension, manifest.vectors)
    batches = (b.select(schema.names).cast(schema) for b in scan(opened(folder, manifest), "", schema.names))
    stream = _Stream(())
    with stream.errors(folder):
        table = _connect(folder).create_table(name, data=arrow.RecordBatchReader.from_batches(schema, batches), schema=schema)
    return name, settled(folder, name, table)


def remove(folder: Path, manifest: Manifest, ids: Sequence[str]) -> int:
    """Take the documents with these ids out of the present table; its new version."""
    table = opened(folder, manifest)
    table.restore()
    for start in range(0, len(ids), 1000):
        table.delete(f"id IN ({', '.join(map(quoted, ids[start : start + 1000]))})")
    return settled(folder, manifest.table, table)


def opened(folder: Place, manifest: Manifest) -> Any:
    """The LanceDB table at the version that counts."""
    try:
        table = _connect(folder).open_table(manifest.table)
        table.checkout(manifest.version)
    except (ValueError, OSError, RuntimeError) as error:
        remedy = "rebuild with: dipole index --rebuild"
        raise DataError(
            "the collection's table is missing or damaged", path=str(folder / manifest.table), value=str(error), remedy=remedy
        ) from error
    return table


def settle(folder: Path, name: str) -> int:
    """The latest version of a table that others wrote, once its files are on the disk."""
    return settled(folder, name, _connect(folder).open_table(name))


def settled(folder: Path, name: str, table: Any) -> int:
    """The table's version, once its files are on the disk."""
    for file in (folder / f"{name}.lance").rglob("*"):
        sync(file)
    return int(table.version)


def read_vectors(table: Any, where: str = "", column: str = "vector") -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(n, d) float32 vectors and (n,) int64 row ids, in the order stored, a block at a time; rows without one are left out."""
    condition = " AND ".join(c for c in (where, f"{column} IS NOT NULL" if column != "vector" else "") if c)
    for batch in scan(table, condition, [column], row_ids=True):
        if len(batch):
            yield matrix(batch.column(column)), torch.from_numpy(batch.column("_rowid").to_numpy().astype("int64"))


def read_columns(table: Any, columns: Sequence[str], where: str = "") -> Iterator[dict[str, Any]]:
    """The rows as plain values of these columns, in the order stored."""
    for batch in scan(table, where, columns):
        yield from batch.to_pylist()


def read_documents(table: Any, rows: Sequence[int], known: dict[int, Document] | None = None) -> dict[int, Document]:
    """The documents with these row ids. ``known``: those read before, which are not read again; short ones are added to it."""
    kept = {row: one for row in rows if (one := known.get(row)) is not None} if known else {}
    missing = [row for row in dict.fromkeys(rows) if row not in kept]
    if not missing:
        return kept
    read = table.take_row_ids(missing).select([*FIELDS]).with_row_id().to_arrow().to_pylist()
    found = {row["_rowid"]: document(row) for row in read}
    if known is not None:
        if len(known) > _KNOWN:
            known.clear()
        known.update({row: one for row, one in found.items() if len(one.text) <= _SHORT})
    return kept | found


def read_blocks(table: Any, where: str, vectors: Sequence[str]) -> Iterator[Block]:
    """Documents with all their vectors."""
    columns = [*FIELDS, "vector", *(c for name, c in (("title", "title_vector"), ("tokens", "tokens")) if name in vectors)]
    for batch in scan(table, where, columns):
        documents = [document(row) for row in batch.select([*FIELDS]).to_pylist()]
        title = tokens = None
        if "title" in vectors:
            title = torch.zeros(len(batch), batch.column("title_vector").type.list_size)
            there = batch.column("title_vector").is_valid().to_numpy(zero_copy_only=False)
            if there.any():
                title[torch.from_numpy(there)] = matrix(batch.column("title_vector").drop_null())
        if "tokens" in vectors:
            tokens = [torch.tensor(value, dtype=torch.float32) for value in batch.column("tokens").to_pylist()]
        yield Block(documents, matrix(batch.column("vector")), title, tokens)


def document(row: dict[str, Any]) -> Document:
    """A row of the table as the document it was."""
    return Document(
        row["id"],
        row["text"],
        json.loads(row["metadata"]),
        row["title"],
        tuple(row["authors"]),
        row["date"],
        row["url"],
        row["votes"],
        tuple(row["tags"]),
    )


def scan(table: Any, where: str, columns: Sequence[str], row_ids: bool = False) -> Iterator[Any]:
    """Arrow batches of these columns in the order stored, of the rows that meet the condition."""
    query = table.search().select(list(columns))
    if where:
        query = query.where(where)
    if row_ids:
        query = query.with_row_id(True)
    yield from query.limit(None).to_batches(READ_ROWS)


def matrix(column: Any) -> torch.Tensor:
    """An Arrow column of vectors as (n, d) float32."""
    import numpy as np

    flat = column.flatten().to_numpy(zero_copy_only=False)
    return torch.from_numpy(np.array(flat, dtype=np.float32)).view(len(column), column.type.list_size)


def _connect(folder: Place) -> Any:
    return need("lancedb", "search", "a collection").connect(str(folder), storage_options=storage_options(folder) or None)


def schema_of(dimension: int, vectors: Sequence[str]) -> Any:
    """The table's columns, in Arrow's words."""
    arrow = need("pyarrow", "search", "a collection")
    text, texts = arrow.string(), arrow.list_(arrow.string())
    kinds = {"authors": texts, "date": arrow.date32(), "votes": arrow.int64(), "tags": texts}
    fields = [(name, kinds.get(name, text)) for name in FIELDS]
    fields += [("facets", texts), ("hash", text), ("vector", arrow.list_(arrow.float32(), dimension))]
    if "title" in vectors:
        fields.append(("title_vector", arrow.list_(arrow.float32(), dimension)))
    if "tokens" in vectors:
        fields.append(("tokens", arrow.list_(arrow.list_(arrow.float16(), dimension))))
    return arrow.schema(fields)


class _Stream:
    """Blocks as Arrow batches, made when Lance asks. What goes wrong in making them comes out of Lance as itself."""

    def __init__(self, blocks: Iterable[Block]) -> None:
        self.blocks = blocks
        self.failure: BaseException | None = None

    def reader(self, schema: Any) -> Any:
        """The batches, one at a time."""
        import pyarrow as arrow

        return arrow.RecordBatchReader.from_batches(schema, self._batches(schema))

    def _batches(self, schema: Any) -> Iterator[Any]:
        try:
            for block in self.blocks:
                yield batch_of(block, schema)
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
            raise could_not_be_written(folder, error) from error


def batch_of(block: Block, schema: Any) -> Any:
    """A block as an Arrow batch of the table's schema."""
    import pyarrow as arrow

    given = block.documents
    columns = {name: [getattr(d, name) for d in given] for name in FIELDS}
    columns["authors"], columns["tags"] = ([list(v) for v in columns[name]] for name in ("authors", "tags"))
    columns["metadata"] = [json.dumps(dict(d.metadata), ensure_ascii=False, default=str) for d in given]
    columns["facets"], columns["hash"] = [facets_of(d.metadata) for d in given], [d.hash for d in given]
    arrays = {name: arrow.array(values, schema.field(name).type) for name, values in columns.items()}
    arrays["vector"] = _vectors(block.body)
    if block.title is not None:
        titled = [bool(d.title) for d in given]
        arrays["title_vector"] = _vectors(block.title, arrow.array([not there for there in titled]))
    if block.tokens is not None:
        kind = schema.field("tokens").type
        inner = [_vectors(t.half()) for t in block.tokens]
        offsets = arrow.array([0, *torch.tensor([len(t) for t in block.tokens]).cumsum(0).tolist()], arrow.int32())
        arrays["tokens"] = arrow.ListArray.from_arrays(offsets, arrow.concat_arrays(inner), type=kind)
    return arrow.record_batch([arrays[field.name] for field in schema], schema=schema)


def _vectors(vectors: torch.Tensor, missing: Any = None) -> Any:
    import pyarrow as arrow

    kept = vectors.detach().to(torch.float16 if vectors.dtype == torch.float16 else torch.float32).contiguous()
    return arrow.FixedSizeListArray.from_arrays(arrow.array(kept.view(-1).numpy()), vectors.shape[1], mask=missing)
