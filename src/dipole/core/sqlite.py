"""A SQLite file that threads and processes share: connections are short, and a change is on the disk when it returns.

It has a write-ahead log, which needs a file system of this machine, not one of the network.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dipole.core.errors import DataError
from dipole.core.files import own_folder

_WAIT = 30.0  # seconds for another writer
_REMEDY = "look at the room on the disk and the file's rights; where it is damaged, restore it from a copy or move it away"


@dataclass(frozen=True)
class Base:
    """The file, readable for its owner alone. ``what`` names what it holds in errors."""

    path: Path
    what: str

    @staticmethod
    def open(path: Path, what: str, tables: str, schema: int) -> Base:
        """The file, made with these tables (statements, each ended by ``;`` and a new line) where it is missing.

        Raises UsageError where the folder cannot be written to, DataError where the file is damaged or of another schema.
        """
        own_folder(path.parent)
        if not path.exists():
            path.touch(mode=0o600)
        base = Base(path, what)
        with base._connected() as db:
            db.execute("PRAGMA journal_mode = WAL")
        with base.changing() as db:
            (found,) = db.execute("PRAGMA user_version").fetchone()
            if found == 0:
                for statement in tables.split(";\n"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {schema}")
            elif found != schema:
                raise DataError(f"{what} of schema {schema} are kept here", path=path, value=found, remedy="update dipole")
        return base

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one state of the file."""
        with self._connected() as db:
            db.execute("BEGIN")
            yield db
            db.execute("ROLLBACK")

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """A connection whose changes happen together at the end of the block, or not at all."""
        with self._connected() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            db = sqlite3.connect(self.path, timeout=_WAIT, isolation_level=None)
        except sqlite3.Error as error:
            raise DataError(f"{self.what} cannot be opened", path=self.path, value=str(error), remedy=_REMEDY) from error
        try:
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("PRAGMA secure_delete = ON")  # what is forgotten is overwritten
            yield db
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self.what} cannot be used", path=self.path, value=str(error), remedy=_REMEDY) from error
        finally:
            db.close()
