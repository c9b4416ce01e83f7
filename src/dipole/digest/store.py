"""What digests remember, in one SQLite file: who subscribed to what, what was sent, and what had been seen.

    DIR/state/digest.sqlite

Every change is one transaction that is on the disk when it returns.
"""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from dipole.core.sqlite import Base

DAILY, WEEKLY = EVERY = ("daily", "weekly")
PENDING, ACTIVE, SUSPENDED = ("pending", "active", "suspended")
_SCHEMA = 1
_TABLES = """
CREATE TABLE subscriptions (
  id TEXT PRIMARY KEY, address TEXT NOT NULL, mailbox TEXT NOT NULL, collection TEXT NOT NULL, query TEXT NOT NULL,
  every TEXT NOT NULL, state TEXT NOT NULL, made REAL NOT NULL, confirmed REAL, look INTEGER NOT NULL DEFAULT 0,
  failures INTEGER NOT NULL DEFAULT 0, UNIQUE (mailbox, collection, query));
CREATE TABLE spool (
  number INTEGER PRIMARY KEY, subscription TEXT NOT NULL REFERENCES subscriptions (id) ON DELETE CASCADE,
  every TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, made REAL NOT NULL, due REAL NOT NULL);
CREATE TABLE signups (at REAL NOT NULL, client TEXT NOT NULL, mailbox TEXT NOT NULL);
CREATE TABLE ledger (
  subscription TEXT NOT NULL REFERENCES subscriptions (id) ON DELETE CASCADE, period TEXT NOT NULL, content TEXT NOT NULL,
  documents TEXT NOT NULL, look INTEGER NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL, reply TEXT NOT NULL, at REAL NOT NULL,
  PRIMARY KEY (subscription, period));
CREATE TABLE looks (number INTEGER PRIMARY KEY AUTOINCREMENT, collection TEXT NOT NULL, was TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE arrivals (
  collection TEXT NOT NULL, id TEXT NOT NULL, look INTEGER NOT NULL, PRIMARY KEY (collection, id)) WITHOUT ROWID;
CREATE INDEX arrivals_look ON arrivals (collection, look);
"""


@dataclass(frozen=True)
class Subscription:
    """Somebody's wish. ``query`` is empty for what is trending; ``look``: up to which look at the collection it was served."""

    id: str
    address: str
    collection: str
    query: str
    every: str
    state: str
    made: float
    confirmed: float | None
    look: int
    failures: int

    @property
    def topic(self) -> str:
        """What it is about, for people."""
        return f"“{self.query}”" if self.query else "trending"


_COLUMNS = "id, address, collection, query, every, state, made, confirmed, look, failures"


class Store:
    """The file, made where it is missing. ``reading`` and ``changing`` are those of :class:`~dipole.core.sqlite.Base`."""

    def __init__(self, state: Path) -> None:
        self._base = Base.open(state / "digest.sqlite", "the digests", _TABLES, _SCHEMA)
        self.folder, self.path = state, self._base.path
        self.reading, self.changing = self._base.reading, self._base.changing

    def subscriptions(self, state: str = "", address: str = "") -> list[Subscription]:
        """Those in this state, of this mailbox; the oldest first."""
        with self.reading() as db:
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM subscriptions WHERE ? IN ('', state) AND ? IN ('', mailbox) ORDER BY made, id", (state, address)
            )
            return [Subscription(*row) for row in rows]

    def counts(self) -> dict[str, int]:
        """State -> how many subscriptions are in it."""
        with self.reading() as db:
            return dict(db.execute("SELECT state, COUNT(*) FROM subscriptions GROUP BY state").fetchall())

    def subscription(self, id: str) -> Subscription | None:
        """The one of this id."""
        with self.reading() as db:
            return found(db, id)

    def forget(self, address: str = "", id: str = "") -> int:
        """Delete the subscriptions of a mailbox, or one, and all that was kept about them; how many there were."""
        with self.changing() as db:
            return db.execute("DELETE FROM subscriptions WHERE mailbox = ? OR id = ?", (address or None, id or None)).rowcount


def found(db: sqlite3.Connection, id: str) -> Subscription | None:
    """The subscription of this id, in an open transaction."""
    row = db.execute(f"SELECT {_COLUMNS} FROM subscriptions WHERE id = ?", (id,)).fetchone()
    return Subscription(*row) if row else None


def now() -> float:
    """Seconds since 1970; in one place, so that a test can move the clock."""
    return time.time()
