"""What people did on the page: votes, what they saved, what they have read; in ``state/page.sqlite`` beside the collections.

A mark is (visitor, collection, document, kind): there is at most one, so a vote counts once however often it is sent. Each change
is one transaction that is on the disk before the answer goes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dipole.core.errors import UnknownNameError, UsageError
from dipole.core.sqlite import Base

KINDS = ("vote", "save", "read")
MOST_MARKS = 20_000  # of one visitor; whoever needs more is not a person
_SCHEMA = 1
_TABLES = """
CREATE TABLE marks (
  visitor TEXT NOT NULL, collection TEXT NOT NULL, document TEXT NOT NULL, kind TEXT NOT NULL, at REAL NOT NULL DEFAULT (julianday('now')),
  PRIMARY KEY (visitor, collection, kind, document)) WITHOUT ROWID;
CREATE TABLE tallies (
  collection TEXT NOT NULL, document TEXT NOT NULL, votes INTEGER NOT NULL, PRIMARY KEY (collection, document)) WITHOUT ROWID;
"""


class State:
    """The marks in ``folder``, which is made where it is missing. Raises UsageError where it cannot be written to, DataError where the
    file is damaged or of a newer dipole.
    """

    def __init__(self, folder: Path) -> None:
        self._base = Base.open(folder / "page.sqlite", "the votes", _TABLES, _SCHEMA)

    def mark(self, visitor: str, collection: str, document: str, kind: str, on: bool) -> int:
        """Set or take back a mark; the document's votes on the page afterwards. Doing it twice is doing it once."""
        if kind not in KINDS:
            raise UnknownNameError("mark", kind, KINDS)
        with self._base.changing() as db:
            if on:
                held = db.execute("SELECT count(*) FROM marks WHERE visitor = ?", (visitor,)).fetchone()[0]
                if held >= MOST_MARKS:
                    raise UsageError(f"one visitor may vote, save and read {MOST_MARKS:,} times; take some back")
                said = "INSERT OR IGNORE INTO marks (visitor, collection, document, kind) VALUES (?, ?, ?, ?)"
            else:
                said = "DELETE FROM marks WHERE visitor = ? AND collection = ? AND document = ? AND kind = ?"
            changed = db.execute(said, (visitor, collection, document, kind)).rowcount
            if changed and kind == "vote":
                db.execute(
                    "INSERT INTO tallies VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET votes = votes + excluded.votes",
                    (collection, document, 1 if on else -1),
                )
            now = db.execute("SELECT votes FROM tallies WHERE collection = ? AND document = ?", (collection, document)).fetchone()
        return int(now[0]) if now else 0

    def votes(self, collection: str) -> dict[str, int]:
        """Id -> votes given on the page, of everything that has any."""
        with self._base.reading() as db:
            return dict(db.execute("SELECT document, votes FROM tallies WHERE collection = ? AND votes > 0", (collection,)))

    def marks(self, visitor: str, collection: str, documents: Sequence[str]) -> dict[str, frozenset[str]]:
        """Id -> what the visitor did with it, of these documents."""
        found: dict[str, set[str]] = {}
        if not visitor or not documents:
            return {}
        asked = ", ".join("?" * len(documents))
        with self._base.reading() as db:
            said = f"SELECT document, kind FROM marks WHERE visitor = ? AND collection = ? AND kind IN (?, ?, ?) AND document IN ({asked})"
            for document, kind in db.execute(said, (visitor, collection, *KINDS, *documents)):
                found.setdefault(document, set()).add(kind)
        return {document: frozenset(kinds) for document, kinds in found.items()}

    def marked(self, visitor: str, collection: str, kind: str) -> list[str]:
        """Ids of what the visitor marked so, the latest first."""
        with self._base.reading() as db:
            said = "SELECT document FROM marks WHERE visitor = ? AND collection = ? AND kind = ? ORDER BY at DESC, document"
            return [row[0] for row in db.execute(said, (visitor, collection, kind))]

    def forget(self, visitor: str) -> int:
        """Take back everything a visitor did, votes too; how many marks that were."""
        with self._base.changing() as db:
            said = "SELECT collection, document FROM marks WHERE visitor = ? AND kind = 'vote'"
            for collection, document in db.execute(said, (visitor,)).fetchall():
                db.execute("UPDATE tallies SET votes = votes - 1 WHERE collection = ? AND document = ?", (collection, document))
            gone = db.execute("DELETE FROM marks WHERE visitor = ?", (visitor,)).rowcount
        return gone
