"""Vectors of many texts on disk, shard by shard: what a killed run wrote is kept, and the next run goes on from there.

A folder: ``manifest.json`` (model, identity, fingerprint of the data, rows, dimension, shard size) and, per shard,
``shard-00000.safetensors`` with ``vectors`` (n, d) float32 and ``rows`` (n,) int64, the row numbers in the data; ids are in
``ids-00000.json``. A shard counts once its file has its final name; every file is written under another name first. What a Ray
cluster wrote (:mod:`dipole.modality.on_ray`) is one Lance table beside the manifest instead.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dipole.core.errors import CheckpointError, DataError, ModelMismatchError, UsageError
from dipole.core.extras import need
from dipole.core.files import lock, sync

MANIFEST = "manifest.json"
SHARDS, TABLE = 1, 2  # the two forms


@dataclass(frozen=True)
class Written:
    """What a run did."""

    rows: int
    shards: int
    kept: int  # shards found from an earlier run
    truncated: int
    seen: int


@dataclass(frozen=True, eq=False)
class Shard:
    """Vectors (n, d), the n ids, and how many of the ``seen`` texts were cut."""

    vectors: torch.Tensor
    ids: list[Any]
    truncated: int
    seen: int


def write_vectors(
    encoder: Any,
    rows: Any,
    role: str,
    folder: Path,
    *,
    shard_rows: int = 10_000,
    batch_size: int = 32,
    side: str = "keys",
    told: Callable[[int, int], None] | None = None,
) -> Written:
    """Encode ``row[role]``, a text or a file's path, of every row into ``folder``; ``told(done, of)`` is called as rows are done.

    Raises UsageError where the folder holds something else or another run's settings or is being written, ModelMismatchError where it holds
    vectors of another model, DataError for NaN vectors or a row without the role.
    """
    wanted = {"format": SHARDS, **described(encoder, rows, role, side, shard_rows)}
    claim(folder, wanted)
    with alone(folder):
        for left in folder.glob(".writing.*"):
            left.unlink()
        starts = range(0, len(rows), shard_rows)
        kept = truncated = seen = 0
        for number, start in enumerate(starts):
            stop = min(start + shard_rows, len(rows))
            if (folder / _shard(number)).is_file():
                held = json.loads((folder / _ids(number)).read_text(encoding="utf-8"))
                truncated, seen, kept = truncated + held["truncated"], seen + held["seen"], kept + 1
            else:
                cut, of = _write_shard(encoder, rows, role, folder, number, start, stop, batch_size, side, told)
                truncated, seen = truncated + cut, seen + of
            if told is not None:
                told(stop, len(rows))
        write_json(folder / MANIFEST, wanted | {"shards": len(starts), "truncated": truncated, "complete": True})
        return Written(len(rows), len(starts), kept, truncated, seen)


def read_vectors(folder: str | Path) -> tuple[torch.Tensor, list[Any]]:
    """(N, d) float32 and the N ids, in the order of the data. Raises CheckpointError where the folder is incomplete."""
    place = Path(folder)
    try:
        manifest = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{place}: no folder of vectors ({type(error).__name__}); write one with dipole encode") from error
    if not manifest.get("complete"):
        raise CheckpointError(f"{place}: the vectors are incomplete; run the same dipole encode again, it goes on from there")
    parts, ids = _of_table(place) if manifest["format"] == TABLE else _of_shards(place, manifest["shards"])
    vectors = torch.cat(parts) if parts else torch.empty(0, manifest["dimension"])
    if len(vectors) != manifest["rows"] or len(ids) != len(vectors):
        raise CheckpointError(
            f"{place}: {manifest['rows']} rows were promised, {len(vectors)} are there; delete the folder and encode again"
        )
    return vectors, ids


def described(encoder: Any, rows: Any, role: str, side: str, shard_rows: int) -> dict[str, Any]:
    """What vectors depend on, and what another run must agree with to go on where one stopped."""
    return {
        "identity": encoder.identity,
        "fingerprint": rows.fingerprint,
        "role": role,
        "side": side,
        "rows": len(rows),
        "dimension": encoder.dimension,
        "shard_rows": shard_rows,
    }


def encoded(encoder: Any, rows: Any, role: str, start: int, stop: int, batch_size: int, side: str, told: Callable[[int], None]) -> Shard:
    """The rows from ``start`` to ``stop``. Raises DataError for NaN vectors or a row without the role."""
    texts, ids = [], []
    for index in range(start, stop):
        row = rows[index]
        if not isinstance(row.get(role), str) or not row[role]:
            raise DataError(f"row {index} has no text for the role", column=role, value=row.get(role))
        texts.append(row[role])
        ids.append(row.get("id", index))
    encoder.truncated.reset()
    parts = []
    block = max(batch_size, 1024)
    for first in range(0, len(texts), block):
        parts.append(encoder.encode(texts[first : first + block], batch_size=batch_size, side=side))
        told(min(first + block, len(texts)))
    vectors = torch.cat(parts)
    broken = (~torch.isfinite(vectors).all(1)).nonzero().flatten()
    if len(broken):
        rule = "the model's vector holds NaN or infinity"
        raise DataError(f"row {start + int(broken[0])}: {rule}", value=texts[int(broken[0])], remedy="the model is broken; try another")
    return Shard(vectors, ids, int(encoder.truncated), encoder.truncated.seen)


def _of_shards(place: Path, shards: int) -> tuple[list[torch.Tensor], list[Any]]:
    load = need("safetensors.torch", "text", "reading vectors").load_file
    parts, ids = [], []
    for number in range(shards):
        try:
            parts.append(load(place / _shard(number))["vectors"])
            ids += json.loads((place / _ids(number)).read_text(encoding="utf-8"))["ids"]
        except Exception as error:
            raise CheckpointError(
                f"{place / _shard(number)}: the shard is missing or broken; delete it and run dipole encode again"
            ) from error
    return parts, ids


def _of_table(place: Path) -> tuple[list[torch.Tensor], list[Any]]:
    parts, ids = [], []
    try:
        table = need("lancedb", "search", "reading vectors that a Ray cluster wrote").connect(str(place)).open_table("vectors")
        for batch in table.search().limit(None).to_batches(8192):
            column = batch.column("vector")
            parts.append(torch.tensor(column.flatten().to_numpy(zero_copy_only=False)).view(len(column), column.type.list_size))
            ids += [json.loads(id) for id in batch.column("id").to_pylist()]
    except (ValueError, OSError, RuntimeError) as error:
        raise CheckpointError(f"{place}: the table of vectors is missing or broken; delete the folder and encode again") from error
    return parts, ids


def _write_shard(
    encoder: Any,
    rows: Any,
    role: str,
    folder: Path,
    number: int,
    start: int,
    stop: int,
    batch_size: int,
    side: str,
    told: Callable[[int, int], None] | None,
) -> tuple[int, int]:
    found = encoded(
        encoder, rows, role, start, stop, batch_size, side, lambda done: told(start + done, len(rows)) if told is not None else None
    )
    write_json(folder / _ids(number), {"ids": found.ids, "truncated": found.truncated, "seen": found.seen})
    temporary = folder / f".writing.{os.getpid()}"
    save = need("safetensors.torch", "text", "writing vectors").save_file
    try:
        save({"vectors": found.vectors, "rows": torch.arange(start, stop)}, temporary)
        sync(temporary)
        os.replace(temporary, folder / _shard(number))
    finally:
        temporary.unlink(missing_ok=True)
    return found.truncated, found.seen


def claim(folder: Path, wanted: dict[str, Any]) -> None:
    """Make the folder ours, or raise where it is somebody else's."""
    if (folder / MANIFEST).is_file():
        try:
            found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        except ValueError as error:
            raise CheckpointError(f"{folder / MANIFEST} is broken; delete the folder and encode again") from error
        if found.get("identity") != wanted["identity"]:
            raise ModelMismatchError(f"{folder} holds vectors of another model; choose another folder or delete this one")
        differing = [key for key, value in wanted.items() if found.get(key) != value]
        if differing:
            raise UsageError(f"{folder} holds vectors of other data or settings ({', '.join(differing)} differ); choose another folder")
        return
    if folder.exists() and (not folder.is_dir() or _others(folder)):
        raise UsageError(f"{folder} exists and holds other things; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / MANIFEST, wanted | {"complete": False})


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other runs out of the folder; the system frees it when this one ends. Raises UsageError where another one is in it."""
    held = os.open(folder, os.O_RDONLY)
    try:
        lock(held, UsageError(f"{folder} is being written by another run; wait for it, or choose another folder"))
        yield
    finally:
        os.close(held)


def _others(folder: Path) -> Sequence[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".writing.")]


def write_json(path: Path, value: Any) -> None:
    """A JSON file, whole or not at all."""
    temporary = path.with_name(f".writing.{os.getpid()}.{path.name}")
    try:
        temporary.write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")
        sync(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _shard(number: int) -> str:
    return f"shard-{number:05d}.safetensors"


def _ids(number: int) -> str:
    return f"ids-{number:05d}.json"
