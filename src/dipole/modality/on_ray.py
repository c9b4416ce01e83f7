"""Vectors of many texts written by the workers of a Ray cluster: the Lance table ``vectors`` (row, id as JSON, vector) in a folder
that :func:`dipole.modality.vectors.read_vectors` reads; equal vectors, ids and order as ``write_vectors`` gives.

Each worker notes in ``pieces/`` what it has written. A run that ended early, of whatever cause, goes on from there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dipole.core.errors import ModelMismatchError
from dipole.core.extras import need
from dipole.modality.vectors import MANIFEST, TABLE, Written, alone, claim, described, encoded, write_json
from dipole.rows import fragments
from dipole.rows.on_ray import Piece, Work, pieces_of, spread


def write_vectors(
    load: Callable[[], Any],
    rows: Callable[[], Any],
    role: str,
    folder: str | Path,
    *,
    address: str = "",
    workers: int = 0,
    shard_rows: int = 10_000,
    batch_size: int = 32,
    side: str = "keys",
    told: Callable[[int, int], None] = lambda done, of: None,
) -> Written:
    """Encode ``row[role]`` of every row into ``folder``, ``shard_rows`` at a time.

    ``load`` and ``rows`` are called in every worker and give the encoder and the rows, so both must be picklable and find what they
    need there; the folder must be reachable by all under its name. Raises as the function of one process does, at the first row.
    """
    place, data, encoder = Path(folder).expanduser().resolve(), rows(), load()
    wanted = {"format": TABLE, **described(encoder, data, role, side, shard_rows)}
    claim(place, wanted)
    with alone(place):
        pieces, notes = pieces_of(len(data), shard_rows), place / "pieces"
        manifest = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
        if manifest["complete"]:
            shutil.rmtree(notes, ignore_errors=True)  # of a run that was killed at its very end
            return Written(len(data), len(pieces), len(pieces), manifest["truncated"], manifest["seen"])
        there, schema = str(place / "vectors.lance"), _schema(encoder.dimension)
        if not notes.is_dir():
            shutil.rmtree(there, ignore_errors=True)
            fragments.begin(place, "vectors", schema)
            notes.mkdir()
        left = [piece for piece in pieces if not _note(notes, piece).is_file()]
        done = [sum(piece.stop - piece.start for piece in pieces) - sum(piece.stop - piece.start for piece in left)]

        def count(piece: Piece) -> None:
            done[0] += piece.stop - piece.start
            told(done[0], len(data))

        told(done[0], len(data))
        spread(
            _Encode(load, rows, role, side, encoder.identity, there, str(notes), encoder.dimension, batch_size),
            left,
            address,
            workers,
            count,
        )
        found = [json.loads(_note(notes, piece).read_text(encoding="utf-8")) for piece in pieces]
        fragments.commit(there, [one for note in found for one in note["fragments"]])
        truncated, seen = (sum(note[name] for note in found) for name in ("truncated", "seen"))
        write_json(place / MANIFEST, wanted | {"shards": len(pieces), "truncated": truncated, "seen": seen, "complete": True})
        shutil.rmtree(notes)
        return Written(len(data), len(pieces), len(pieces) - len(left), truncated, seen)


@dataclass(frozen=True)
class _Encode:
    """What a worker needs to know; called, it loads the model and gives the work."""

    load: Callable[[], Any]
    rows: Callable[[], Any]
    role: str
    side: str
    identity: str
    place: str
    notes: str
    dimension: int
    batch_size: int

    def __call__(self) -> Work:
        encoder, data, schema = self.load(), self.rows(), _schema(self.dimension)
        same = encoder.identity == self.identity

        def work(piece: Piece) -> None:
            if not same:
                raise ModelMismatchError("a worker loads another model than is here; give all nodes the same files")
            note = _note(Path(self.notes), piece)
            if note.is_file():  # its writer died before it could say so
                return
            found = encoded(encoder, data, self.role, piece.start, piece.stop, self.batch_size, self.side, lambda done: None)
            arrow = need("pyarrow", "search", "writing vectors on a Ray cluster")
            columns = [
                arrow.array(range(piece.start, piece.stop), arrow.int64()),
                arrow.array([json.dumps(id, ensure_ascii=False) for id in found.ids]),
                arrow.FixedSizeListArray.from_arrays(arrow.array(found.vectors.reshape(-1).numpy()), self.dimension),
            ]
            made = fragments.write(self.place, schema, [arrow.record_batch(columns, schema=schema)])
            write_json(note, {"fragments": made, "truncated": found.truncated, "seen": found.seen})

        return work


def _schema(dimension: int) -> Any:
    arrow = need("pyarrow", "search", "writing vectors on a Ray cluster")
    vector = arrow.list_(arrow.float32(), dimension)
    return arrow.schema([("row", arrow.int64()), ("id", arrow.string()), ("vector", vector)])


def _note(notes: Path, piece: Piece) -> Path:
    return notes / f"{piece.number:06d}.json"
