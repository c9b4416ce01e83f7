"""The ledger: one line a subscriber and period, written before the mail leaves and again when it is known what became of it.

    leaving    the body may have left this machine; a line found so by a later run came from a process that died there
    sent       the server accepted it
    unknown    it may have been accepted: the process died, or the connection broke, before the answer came
    deferred   the server asked to try again later, or could not be reached
    refused    the server will not have it

Only ``deferred`` is tried again. So a mail is sent at most once, whatever dies when: what is ``unknown`` is not repeated, at the price
that in the moment between the first byte of the body and the server's answer a mail can be lost. Until that moment nothing is written,
and a run that died is simply repeated.
"""

from __future__ import annotations

import datetime
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dipole.core.errors import DipoleError
from dipole.core.files import lock
from dipole.digest.store import ACTIVE, DAILY, EVERY, SUSPENDED, Store, Subscription, now

LEAVING, SENT, UNKNOWN, DEFERRED, REFUSED = ("leaving", "sent", "unknown", "deferred", "refused")
PATIENCE = 3  # refusals in a row after which a subscription is suspended


class BusyError(DipoleError):
    """Another process is sending the digests of this folder."""


@dataclass(frozen=True)
class Line:
    """What a subscriber was sent, or not, in a period. ``documents``: their ids; ``look``: the one they came from."""

    subscription: str
    period: str
    content: str
    documents: Sequence[str]
    look: int


def period(every: str, day: datetime.date) -> str:
    """The day, or the ISO week it lies in.

    >>> period("daily", datetime.date(2027, 1, 1)), period("weekly", datetime.date(2027, 1, 1))
    ('2027-01-01', '2026-W53')
    """
    year, week, _ = day.isocalendar()
    return day.isoformat() if every == DAILY else f"{year}-W{week:02d}"


@contextmanager
def only_one(state: Path) -> Iterator[None]:
    """Keep other runs out until the end of the block. The system frees the lock of a killed one. Raises BusyError."""
    with open(state / "digest.lock", "w") as file:
        lock(file, BusyError("another process is sending the digests of this folder; wait for it"))
        yield


def settle(store: Store) -> int:
    """Lines that a dead process left as ``leaving`` become ``unknown``; how many. For the holder of the lock only."""
    with store.changing() as db:
        left = db.execute("SELECT subscription, look FROM ledger WHERE state = ?", (LEAVING,)).fetchall()
        db.execute("UPDATE ledger SET state = ?, reply = 'the process died before the answer came' WHERE state = ?", (UNKNOWN, LEAVING))
        for subscription, look in left:
            _served(db, subscription, look)
    return len(left)


def due(store: Store, every: str, day: datetime.date) -> list[Subscription]:
    """Active subscriptions that have no line for the day's period, or a deferred one. ``every``: only these, or all."""
    with store.reading() as db:
        said = "SELECT subscription, period FROM ledger WHERE state != ? AND period IN (?, ?)"
        done = {tuple(row) for row in db.execute(said, (DEFERRED, *(period(one, day) for one in EVERY)))}
    wanted = [s for s in store.subscriptions(ACTIVE) if every in ("", s.every)]
    return [s for s in wanted if (s.id, period(s.every, day)) not in done]


def told(store: Store, subscription: str) -> set[str]:
    """The documents that went, or may have gone, to a subscriber already."""
    with store.reading() as db:
        rows = db.execute("SELECT documents FROM ledger WHERE subscription = ? AND state NOT IN (?, ?)", (subscription, DEFERRED, REFUSED))
        return {id for (documents,) in rows for id in json.loads(documents)}


def considered(store: Store, subscription: str, look: int) -> None:
    """Nothing that had come until ``look`` was for this subscriber: it is not considered again."""
    with store.changing() as db:
        _served(db, subscription, look)


def leaves(store: Store, line: Line) -> bool:
    """Write that the mail is about to leave. False where it must not: there is a line already, or the subscription is no more."""
    with store.changing() as db:
        if not db.execute("SELECT 1 FROM subscriptions WHERE id = ? AND state = ?", (line.subscription, ACTIVE)).fetchone():
            return False
        states = db.execute("SELECT state FROM ledger WHERE subscription = ? AND period = ?", (line.subscription, line.period)).fetchone()
        if states and states[0] != DEFERRED:
            return False
        _write(db, line, LEAVING, "")
        return True


def ended(store: Store, line: Line, state: str, reply: str, *, blame: bool = True) -> bool:
    """Write what became of it. ``blame``: a refusal counts against the subscription; True where this one suspended it."""
    with store.changing() as db:
        if not db.execute("SELECT 1 FROM subscriptions WHERE id = ?", (line.subscription,)).fetchone():
            return False  # unsubscribed meanwhile: nothing is kept
        _write(db, line, state, reply[:500])
        if state in (SENT, UNKNOWN):
            _served(db, line.subscription, line.look)
        if state == SENT:
            db.execute("UPDATE subscriptions SET failures = 0 WHERE id = ?", (line.subscription,))
        if state != REFUSED or not blame:
            return False
        db.execute("UPDATE subscriptions SET failures = failures + 1 WHERE id = ?", (line.subscription,))
        suspended = "UPDATE subscriptions SET state = ? WHERE id = ? AND failures >= ? AND state = ?"
        return db.execute(suspended, (SUSPENDED, line.subscription, PATIENCE, ACTIVE)).rowcount == 1


def _served(db: sqlite3.Connection, subscription: str, look: int) -> None:
    db.execute("UPDATE subscriptions SET look = MAX(look, ?) WHERE id = ?", (look, subscription))


def _write(db: sqlite3.Connection, line: Line, state: str, reply: str) -> None:
    db.execute(
        """INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?) ON CONFLICT (subscription, period) DO UPDATE SET
        content = excluded.content, documents = excluded.documents, look = excluded.look,
        state = excluded.state, reply = excluded.reply, at = excluded.at,
        attempts = ledger.attempts + (ledger.state = 'deferred')""",
        (line.subscription, line.period, line.content, json.dumps(list(line.documents)), line.look, state, reply, now()),
    )
