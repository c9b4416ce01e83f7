"""A collection written by the workers of a Ray cluster: each encodes pieces of the rows and writes them as fragments of one
table, and this process commits the table, indexes its words and replaces the manifest. The result is what ``Collection.rebuild``
makes of the same rows: the same documents in the same order, encoded in the same blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dipole.core.errors import ModelMismatchError, UsageError
from dipole.core.protocols import Rows
from dipole.rows import fragments
from dipole.rows.on_ray import Piece, Work, pieces_of, spread
from dipole.search import table as tables
from dipole.search.collection import Collection
from dipole.search.documents import Embedder, documents_of
from dipole.search.encode import TEXTS, blocks_of, known_vectors, name_of, refuse_taken
from dipole.search.write import replace

Opened = Callable[[], Rows]


def rebuild(
    folder: str | Path,
    rows: Opened,
    load: Callable[[], Embedder],
    *,
    path: str | Path = "",
    address: str = "",
    workers: int = 0,
    batch_size: int = 32,
    vectors: Sequence[str] = (),
    piece_rows: int = 8 * TEXTS,
    told: Callable[[int], None] = lambda rows: None,
) -> Collection:
    """Replace a collection, or make a new one, of the rows, on a cluster.

    ``rows`` and ``load`` are called in every worker and give the rows of the data, named ``path`` in errors, and the encoder, so both
    must be picklable and find what they need there. The folder must be reachable by all under its name. ``piece_rows`` is what a worker
    does at a time; ``told`` hears of the number of rows done. Raises what a worker raised of dipole's errors; then, and when
    killed, everything is as it was before.
    """
    if piece_rows % TEXTS:
        raise UsageError(f"piece_rows must be a multiple of {TEXTS}, the texts encoded together, got {piece_rows}")
    place = Path(folder).expanduser().resolve()
    pieces, model = pieces_of(len(rows()), piece_rows), load()
    kinds = known_vectors(vectors, model)
    dimension = model.encode(["one"], side="keys").shape[1]
    name, identity = name_of(model), model.identity
    del model

    def filled() -> tuple[str, int, int]:
        if not pieces:
            return "", 0, 0
        table, schema = tables.new_name(), tables.schema_of(dimension, kinds)
        there = fragments.begin(place, table, schema)
        work = _Write(rows, load, identity, str(path), there, dimension, kinds, batch_size)
        done = spread(work, pieces, address, workers, lambda piece: told(piece.stop - piece.start))
        made = [done[piece.number] for piece in pieces]
        _refuse_taken(np.concatenate([hashes for _, hashes in made]), rows)
        fragments.commit(there, [one for names, _ in made for one in names])
        return table, tables.settle(place, table), dimension

    return Collection(place, replace(place, name, identity, kinds, filled))


@dataclass(frozen=True)
class _Write:
    """What a worker needs to know; called, it loads the model and gives the work."""

    rows: Opened
    load: Callable[[], Embedder]
    identity: str
    path: str
    place: str
    dimension: int
    kinds: tuple[str, ...]
    batch_size: int

    def __call__(self) -> Work:
        rows, model = self.rows(), self.load()
        same, schema = model.identity == self.identity, tables.schema_of(self.dimension, self.kinds)

        def work(piece: Piece) -> tuple[list[str], np.ndarray[Any, Any]]:
            if not same:
                raise ModelMismatchError(f"a worker loads another model than {model.model!r} is here; give all nodes the same files")
            hashes = []

            def batches() -> Iterator[Any]:
                chosen = (rows[number] for number in range(piece.start, piece.stop))
                documents = documents_of(chosen, self.path, skipped=piece.start)
                for block in blocks_of(documents, model, self.batch_size, self.kinds, None, piece.start):
                    hashes.append(_hashes([document.id for document in block.documents]))
                    yield tables.batch_of(block, schema)

            return fragments.write(self.place, schema, batches()), np.concatenate(hashes)

        return work


def _hashes(ids: Sequence[str]) -> np.ndarray[Any, Any]:
    """(n,) uint64: 8 bytes an id, wherever it is computed."""
    import hashlib

    packed = b"".join(hashlib.blake2b(id.encode(), digest_size=8).digest() for id in ids)
    return np.frombuffer(packed, dtype=np.uint64)


def _refuse_taken(hashes: np.ndarray[Any, Any], rows: Opened) -> None:
    """Raise DataError where an id comes twice: where two hashes are equal, the ids are looked at."""
    order = hashes.argsort(kind="stable")
    again = order[1:][hashes[order][1:] == hashes[order][:-1]]
    if not len(again):
        return
    data, seen = rows(), set[str]()
    for row in np.flatnonzero(np.isin(hashes, hashes[again])).tolist():
        refuse_taken(list(documents_of([data[row]], skipped=row)), seen, row)
