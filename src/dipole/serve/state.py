"""What people did on the page: votes, what they saved, what they have read; in ``state/page.sqlite`` beside the collections.

A mark is (visitor, collection, document, kind): there is at most one, so a vote counts once however often it is sent. Each change
is one transaction that is on the disk before the answer goes out (SQLite, write-ahead log, full synchronisation), and each call
opens a connection of its own: threads and processes may share the file. The folder must not lie on a network file system, which
SQLite's log does not work on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dipole.core.errors import DataError, UnknownNameError, UsageError

KINDS = ("vote", "save", "read")
MOST_MARKS = 20_000  # of one visitor; whoever needs more is not a person
_SCHEMA = 1
_WAIT = 10.0  # seconds for another writer
_TABLES = """
CREATE TABLE IF NOT EXISTS marks (
  visitor TEXT NOT NULL, collection TEXT NOT NULL, document TEXT NOT NULL, kind TEXT NOT NULL, at REAL NOT NULL DEFAULT (julianday('now')),
  PRIMARY KEY (visitor, collection, kind, document)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tallies (
  collection TEXT NOT NULL, document TEXT NOT NULL, votes INTEGER NOT NULL, PRIMARY KEY (collection, document)) WITHOUT ROWID;
"""


class State:
    """The marks in ``folder``, which is made where it is missing. Raises DataError where the file is damaged or of a newer dipole."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "page.sqlite"
        try:
            with self._open() as base:
                base.execute("PRAGMA journal_mode = WAL")
                schema = base.execute("PRAGMA user_version").fetchone()[0]
                if schema > _SCHEMA:
                    raise DataError(f"state of schema {_SCHEMA} is read here", path=self.path, value=schema, remedy="update dipole")
                base.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {_SCHEMA}; COMMIT;")
        except sqlite3.DatabaseError as error:
            raise DataError("the votes cannot be read", path=self.path, value=str(error), remedy="move the file away") from error

    def mark(self, visitor: str, collection: str, document: str, kind: str, on: bool) -> int:
        """Set or take back a mark; the document's votes on the page afterwards. Doing it twice is doing it once."""
        if kind not in KINDS:
            raise UnknownNameError("mark", kind, KINDS)
        with self._open() as base:
            base.execute("BEGIN IMMEDIATE")
            if on:
                held = base.execute("SELECT count(*) FROM marks WHERE visitor = ?", (visitor,)).fetchone()[0]
                if held >= MOST_MARKS:
                    raise UsageError(f"one visitor may vote, save and read {MOST_MARKS:,} times; take some back")
                said = "INSERT OR IGNORE INTO marks (visitor, collection, document, kind) VALUES (?, ?, ?, ?)"
            else:
                said = "DELETE FROM marks WHERE visitor = ? AND collection = ? AND document = ? AND kind = ?"
            changed = base.execute(said, (visitor, collection, document, kind)).rowcount
            if changed and kind == "vote":
                base.execute(
                    "INSERT INTO tallies VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET votes = votes + excluded.votes",
                    (collection, document, 1 if on else -1),
                )
            now = base.execute("SELECT votes FROM tallies WHERE collection = ? AND document = ?", (collection, document)).fetchone()
            base.execute("COMMIT")
        return int(now[0]) if now else 0

    def votes(self, collection: str) -> dict[str, int]:
        """Id -> votes given on the page, of everything that has any."""
        with self._open() as base:
            return dict(base.execute("SELECT document, votes FROM tallies WHERE collection = ? AND votes > 0", (collection,)))

    def marks(self, visitor: str, collection: str, documents: Sequence[str]) -> dict[str, frozenset[str]]:
        """Id -> what the visitor did with it, of these documents."""
        found: dict[str, set[str]] = {}
        if not visitor or not documents:
            return {}
        asked = ", ".join("?" * len(documents))
        with self._open() as base:
            said = f"SELECT document, kind FROM marks WHERE visitor = ? AND collection = ? AND kind IN (?, ?, ?) AND document IN ({asked})"
            for document, kind in base.execute(said, (visitor, collection, *KINDS, *documents)):
                found.setdefault(document, set()).add(kind)
        return {document: frozenset(kinds) for document, kinds in found.items()}

    def marked(self, visitor: str, collection: str, kind: str) -> list[str]:
        """Ids of what the visitor marked so, the latest first."""
        with self._open() as base:
            said = "SELECT document FROM marks WHERE visitor = ? AND collection = ? AND kind = ? ORDER BY at DESC, document"
            return [row[0] for row in base.execute(said, (visitor, collection, kind))]

    def forget(self, visitor: str) -> int:
        """Take back everything a visitor did, votes too; how many marks that were."""
        with self._open() as base:
            base.execute("BEGIN IMMEDIATE")
            said = "SELECT collection, document FROM marks WHERE visitor = ? AND kind = 'vote'"
            for collection, document in base.execute(said, (visitor,)).fetchall():
                base.execute("UPDATE tallies SET votes = votes - 1 WHERE collection = ? AND document = ?", (collection, document))
            gone = base.execute("DELETE FROM marks WHERE visitor = ?", (visitor,)).rowcount
            base.execute("COMMIT")
        return gone

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection in autocommit; a transaction that was begun and not committed is rolled back with it."""
        base = sqlite3.connect(self.path, timeout=_WAIT, isolation_level=None)
        try:
            base.execute("PRAGMA synchronous = FULL")
            yield base
        finally:
            base.close()
