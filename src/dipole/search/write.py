"""The writes of a collection. Each prepares everything, then commits one manifest: it happens as a whole or not at all."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch

from dipole.core.errors import DataError, UsageError
from dipole.search import approximate, manifest
from dipole.search import table as tables
from dipole.search.documents import Document, Embedder
from dipole.search.encode import blocks_of, encoded, known_vectors, name_of, same_model
from dipole.search.filters import quoted
from dipole.search.given import checked, identity_of, kinds_of
from dipole.search.manifest import Manifest
from dipole.search.table import Block

_FOREVER = datetime.timedelta(days=36500)
_UNINDEXED = 0.1  # share of rows that words are looked up in without an index before it is brought up to date
_READ_IDS = 1024


@dataclass(frozen=True)
class Changes:
    """What an upsert did: numbers of documents."""

    new: int
    changed: int
    same: int


def create(folder: Path, documents: Iterable[Document], model: Embedder, batch_size: int, vectors: Sequence[str]) -> Manifest:
    """Write a whole new table and make it the one that counts. Without documents the collection is an empty one."""
    kinds = known_vectors(vectors, model)
    return _written(folder, blocks_of(documents, model, batch_size, kinds, set()), name_of(model), model.identity, kinds)


def store(folder: Path, blocks: Iterable[Block], model: str, identity: str) -> Manifest:
    """Write a whole new table of vectors made elsewhere. Which kinds there are and their dimension is what the first block says."""
    first, given = _peek(iter(blocks))
    kinds, dimension = (("body",), 0) if first is None else (kinds_of(first), int(first.body.shape[-1]))
    return _written(folder, checked(given, kinds, dimension, set()), model, identity or identity_of(model), kinds)


def _written(folder: Path, blocks: Iterator[Block], model: str, identity: str, kinds: tuple[str, ...]) -> Manifest:
    def filled() -> tuple[str, int, int]:
        first, given = _peek(blocks)
        return ("", 0, 0) if first is None else (*tables.write_new(folder, given, first.dimension, kinds), first.dimension)

    return replace(folder, model, identity, kinds, filled)


def replace(folder: Path, model: str, identity: str, kinds: tuple[str, ...], filled: Callable[[], tuple[str, int, int]]) -> Manifest:
    """Make a new table the one that counts: ``filled`` fills it, and gives its name, its version and the vectors' dimension."""
    with manifest.writing(folder):
        before = manifest.read(folder) if manifest.exists(folder) else Manifest(model, identity, 0, 0, "", 0)
        table, version, dimension = filled()
        what = "rebuild" if before.number else "create"
        by = {"model": model, "identity": identity, "vectors": kinds}
        made = before.next(what, dimension=dimension, table=table, version=version, rows=0, index={}, **by)
        return _commit(folder, made)


def append(folder: Path, documents: Iterable[Document], model: Embedder, batch_size: int) -> Manifest:
    """Add documents whose ids are new."""

    def blocks(now: Manifest, taken: set[str]) -> Iterator[Block]:
        same_model(now, model)
        return blocks_of(documents, model, batch_size, now.vectors, taken)

    return _grown(folder, blocks)


def append_vectors(folder: Path, given: Iterable[Block]) -> Manifest:
    """Add documents whose ids are new, with vectors made elsewhere by the collection's model."""

    def blocks(now: Manifest, taken: set[str]) -> Iterator[Block]:
        first, all_of_them = _peek(iter(given))
        kinds, dimension = (now.vectors, now.dimension) if now.rows or first is None else (kinds_of(first), int(first.body.shape[-1]))
        return checked(all_of_them, kinds, dimension, taken)

    return _grown(folder, blocks)


def _grown(folder: Path, made: Callable[[Manifest, set[str]], Iterator[Block]]) -> Manifest:
    with manifest.writing(folder):
        now = manifest.read(folder)
        taken = {row["id"] for row in tables.read_columns(tables.opened(folder, now), ["id"])} if now.rows else set()
        first, blocks = _peek(made(now, taken))
        return now if first is None else _commit(folder, _added(folder, now, first, blocks, "append"))


def upsert(folder: Path, documents: Iterable[Document], model: Embedder, batch_size: int) -> tuple[Manifest, Changes]:
    """Add what is new, replace what changed. Of documents of one id given twice, the last one counts."""
    with manifest.writing(folder):
        now = manifest.read(folder)
        same_model(now, model)
        table = tables.opened(folder, now) if now.rows else None
        held = {row["id"]: row["hash"] for row in tables.read_columns(table, ["id", "hash"])} if table is not None else {}
        given = {document.id: document for document in documents}
        new = [d for d in given.values() if d.id not in held]
        changed = [d for d in given.values() if d.id in held and d.hash != held[d.id]]
        changes = Changes(len(new), len(changed), len(given) - len(new) - len(changed))
        if not new and not changed:
            return now, changes
        if changed:
            version = tables.write_more(folder, now, _again(table, changed, model, batch_size, now.vectors), replace=True)
            now = dataclasses.replace(now, version=version)
        if new:
            first, blocks = _peek(blocks_of(new, model, batch_size, now.vectors, None))
            assert first is not None
            return _commit(folder, _added(folder, now, first, blocks, "upsert")), changes
        return _commit(folder, now.next("upsert")), changes


def delete(folder: Path, ids: Sequence[str]) -> Manifest:
    """Take documents out."""
    with manifest.writing(folder):
        now = manifest.read(folder)
        wanted = set(ids)
        there = {row["id"] for row in tables.read_columns(tables.opened(folder, now), ["id"])} & wanted if now.rows else set()
        if missing := sorted(wanted - there):
            raise DataError(f"{len(missing)} of {len(wanted)} ids are not in the collection", path=folder, value=missing[0])
        if not wanted:
            return now
        return _commit(folder, now.next("delete", version=tables.remove(folder, now, sorted(wanted))))


def index(
    folder: Path, kind: str, recall: float, queries: int | torch.Tensor, told: Callable[[str], None]
) -> tuple[Manifest, approximate.Built]:
    """Build an approximate index and measure it."""
    with manifest.writing(folder):
        now = manifest.read(folder)
        if not now.rows:
            raise UsageError(f"{folder} is empty; an index needs vectors")
        table = tables.opened(folder, now)
        table.restore()
        built = approximate.build(folder, table, now.rows, kind, recall, queries, told)
        version = tables.settled(folder, now.table, table)
        return _commit(folder, now.next(f"index {kind}", version=version, index=dataclasses.asdict(built))), built


def compact(folder: Path, keep: int) -> Manifest:
    """Write what counts into a table of its own, index it anew, and forget all but the last ``keep`` commits.

    A table goes when no commit names it any more. (Lance's own clean-up goes by time and may take the version that counts.)
    """
    if keep < 1:
        raise UsageError(f"compact: keep must be at least 1, got {keep}")
    with manifest.writing(folder):
        now = manifest.read(folder)
        if not now.rows:
            return now
        name, version = tables.copy(folder, now)
        made = now.next("compact", table=name, version=version, index={})
        if now.index:
            table = tables.opened(folder, made)
            table.restore()
            known = now.index
            built = approximate.build(
                folder,
                table,
                now.rows,
                known["kind"],
                known["wanted"],
                known["queries"],
                least=known["probes"] if known.get("given") else 1,
            )
            made = dataclasses.replace(made, version=tables.settled(folder, name, table), index=dataclasses.asdict(built))
        made = _commit(folder, made)
        manifest.forget(folder, made.number - keep + 1)
        return made


def rollback(folder: Path, number: int) -> Manifest:
    """Make what counted after commit ``number`` count again."""
    with manifest.writing(folder):
        known = {m.number: m for m in manifest.history(folder)}
        if number not in known:
            raise UsageError(f"{folder}: there is no commit {number} to go back to; there are {', '.join(map(str, known))}")
        then, now = known[number], manifest.read(folder)
        if then.rows:
            tables.opened(folder, then)
        back = dataclasses.replace(then, number=now.number).next(f"rollback to {number}")
        manifest.commit(folder, back)
        return back


def _commit(folder: Path, made: Manifest) -> Manifest:
    """Bring the index of words up to date, count the rows, make the manifest count."""
    if made.table:
        table = tables.opened(folder, made)
        if _wants_words(table):
            table.restore()
            _index_words(table)
            made = dataclasses.replace(made, version=tables.settled(folder, made.table, table))
        made = dataclasses.replace(made, rows=int(table.count_rows()))
    manifest.commit(folder, made)
    return made


def _wants_words(table: Any) -> bool:
    """Whether words are not indexed yet, or for too few rows."""
    named = {column: one.name for one in table.list_indices() for column in one.columns}
    if "text" not in named:
        return True
    stats = table.index_stats(named["text"])
    return bool(stats.num_unindexed_rows > _UNINDEXED * max(1, stats.num_indexed_rows))


def _index_words(table: Any) -> None:
    from lancedb.index import FTS

    if {"text", "title"} <= {column for one in table.list_indices() for column in one.columns}:
        table.optimize(cleanup_older_than=_FOREVER)
        return
    for column in ("text", "title"):
        table.create_index(column, config=FTS(language="English", with_position=False, remove_stop_words=False), replace=True)


def _added(folder: Path, now: Manifest, first: Block, blocks: Iterator[Block], what: str) -> Manifest:
    if now.rows:
        return now.next(what, version=tables.write_more(folder, now, blocks))
    kinds = kinds_of(first)
    table, version = tables.write_new(folder, blocks, first.dimension, kinds)
    return now.next(what, dimension=first.dimension, table=table, version=version, vectors=kinds)


def _again(table: Any, changed: list[Document], model: Embedder, batch_size: int, vectors: Sequence[str]) -> Iterator[Block]:
    """Changed documents with their vectors; what has the title and text it had keeps its vectors, the rest is encoded."""
    left = iter(changed)
    while block := list(islice(left, _READ_IDS)):
        wanted = {d.id: d for d in block}
        fresh = dict(wanted)
        for held in tables.read_blocks(table, f"id IN ({', '.join(map(quoted, wanted))})", vectors):
            kept = [i for i, d in enumerate(held.documents) if (d.text, d.title) == (wanted[d.id].text, wanted[d.id].title)]
            if kept:
                title = None if held.title is None else held.title[kept]
                tokens = None if held.tokens is None else [held.tokens[i] for i in kept]
                yield Block([wanted[held.documents[i].id] for i in kept], held.body[kept], title, tokens)
            for i in kept:
                del fresh[held.documents[i].id]
        if fresh:
            yield encoded(list(fresh.values()), model, batch_size, vectors)


def _peek(blocks: Iterator[Block]) -> tuple[Block | None, Iterator[Block]]:
    """The first block, and all of them."""
    first = next(blocks, None)
    return first, blocks if first is None else chain([first], blocks)
