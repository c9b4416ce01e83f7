"""The small files that say what a collection is: which table counts, at which version, made by which model.

    FOLDER/collection.json         what counts now
    FOLDER/versions/000012.json    what counted after each commit, to go back to

A writer prepares everything, then replaces ``collection.json`` in one step: before that step everything is as it was,
whatever ended the process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dipole.core.errors import DataError, UsageError
from dipole.core.files import lock, replace_text, sync
from dipole.search.places import Place
from dipole.search.readers import delete_unread

NAME = "collection.json"
_SCHEMA = 2


@dataclass(frozen=True)
class Manifest:
    """What counts: which table at which version, the model its vectors come from, and which vectors an item has.

    ``vectors``: ``body``, and maybe ``title`` and ``tokens``. ``number`` of the commit, from 1, and when it was made (UTC).
    ``index``: of the approximate search, empty where the exact one answers.
    """

    model: str
    identity: str
    dimension: int
    rows: int
    table: str
    version: int
    vectors: tuple[str, ...] = ("body",)
    index: Mapping[str, Any] = field(default_factory=dict)
    number: int = 0
    made: str = ""
    what: str = ""
    schema: int = _SCHEMA

    def next(self, what: str, **changes: Any) -> Manifest:
        """The manifest of the next commit."""
        return dataclasses.replace(self, number=self.number + 1, made=_now(), what=what, **changes)


def exists(folder: Place) -> bool:
    """Whether there is a collection."""
    return (folder / NAME).is_file()


def within(folder: Path) -> dict[str, Path]:
    """The collections that lie in a folder, by name, in alphabetical order; also what may not be looked into, so opening it says why."""
    if not folder.is_dir():
        return {}
    return {entry.name: entry for entry in sorted(folder.iterdir()) if entry.is_dir() and _maybe(entry)}


def _maybe(folder: Path) -> bool:
    try:
        return exists(folder)
    except PermissionError:
        return True


def read(folder: Place) -> Manifest:
    """The manifest. Raises UsageError where there is no collection, DataError where the file is damaged."""
    path = folder / NAME
    if not path.is_file():
        raise UsageError(f"{folder} is not a collection; make one with: dipole index {folder} --data FILE")
    return _parsed(path)


def history(folder: Place) -> list[Manifest]:
    """Every commit that can be gone back to, oldest first; the last is what counts."""
    found = {m.number: m for m in (_parsed(path) for path in (folder / "versions").glob("*.json"))}
    now = read(folder)
    return [m for number, m in sorted(found.items()) if number < now.number] + [now]


def commit(folder: Path, manifest: Manifest) -> None:
    """Make the manifest what counts, in one step; it is on the disk when this returns."""
    versions = folder / "versions"
    versions.mkdir(exist_ok=True)
    for path in (versions / f"{manifest.number:06d}.json", folder / NAME):
        replace_text(path, json.dumps(dataclasses.asdict(manifest), indent=1))
        sync(path.parent)


def forget(folder: Path, before: int) -> None:
    """Drop the commits numbered below ``before`` from what can be gone back to."""
    for path in (folder / "versions").glob("*.json"):
        if int(path.stem) < before:
            path.unlink()


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Keep other writers out of the folder; leftovers of killed writers are gone on entry. The system frees the lock."""
    new = not folder.exists()
    if not new and not folder.is_dir():
        raise UsageError(f"{folder} is a file; a collection is a folder")
    if not new and not exists(folder) and any(not _ours(entry.name) for entry in folder.iterdir()):
        raise UsageError(f"{folder} holds other files and is not a collection; give a new or an empty folder")
    with _locked(folder):
        try:
            remove_leftovers(folder)
            yield
        except (OSError, RuntimeError, ValueError) as error:
            if "lance error" not in str(error):
                raise
            raise could_not_be_written(folder, error) from error
        finally:
            remove_leftovers(folder)
            if not exists(folder):  # nothing came of it: leave no trace
                (folder / ".lock").unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    (folder / "versions").rmdir()
                with contextlib.suppress(OSError):
                    folder.rmdir()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / ".lock", "w") as file:
            lock(file, UsageError(f"{folder} is being written by another process; wait for it"))
            if os.fstat(file.fileno()).st_nlink:  # else a writer of whom nothing came took the file away before it was locked here
                yield
                return


def could_not_be_written(folder: Path, error: Exception) -> DataError:
    """What to say where Lance failed."""
    remedy = "look at the room on the disk and the folder's rights; the collection is as it was before (damaged? dipole index --rebuild)"
    return DataError("the collection could not be written", path=folder, value=str(error), remedy=remedy)


def remove_leftovers(folder: Path) -> None:
    """Delete tables that no commit names and nobody reads, and half-written files."""
    kept = {m.table for m in history(folder)} if exists(folder) else set()
    current = read(folder).number if exists(folder) else 0
    for entry in folder.iterdir():
        if entry.name.startswith(f".{NAME}."):
            entry.unlink()
        elif _is_table(entry.name) and entry.name.removesuffix(".lance") not in kept:
            delete_unread(entry)
    for entry in (folder / "versions").glob("*") if (folder / "versions").is_dir() else ():
        if entry.name.startswith(".") or int(entry.stem) > current:
            entry.unlink()


def _parsed(path: Place) -> Manifest:
    remedy = "rebuild with: dipole index --rebuild"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        schema = found.get("schema")
    except (ValueError, AttributeError) as error:
        raise DataError("the manifest is damaged", path=str(path), value=str(error), remedy=remedy) from error
    if schema == 1:
        raise DataError("a collection of dipole 0.1's first form, which has no typed fields", path=str(path), remedy=remedy)
    if schema != _SCHEMA:
        raise DataError(f"collections of schema {_SCHEMA} are read here", path=str(path), value=schema, remedy="update dipole")
    try:
        return Manifest(**{**found, "vectors": tuple(found["vectors"])})
    except (KeyError, TypeError) as error:
        raise DataError("the manifest is damaged", path=str(path), value=str(error), remedy=remedy) from error


def _ours(name: str) -> bool:
    return name in (".lock", "versions") or name.startswith(f".{NAME}.") or _is_table(name)


def _is_table(name: str) -> bool:
    return name.startswith("rows-") and name.endswith(".lance")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
