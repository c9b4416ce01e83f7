"""Mails that ask for confirmation, from the moment somebody signs up until they have left.

The server sends them in the background where it has an SMTP server; else they wait here until ``dipole digest`` does. Whoever takes one
marks it first, in one transaction, so of two processes one sends it; what a process dies over is not sent again, the person asks again.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass

from dipole.digest import store as stored
from dipole.digest.compose import confirmation_message
from dipole.digest.links import Links
from dipole.digest.settings import MailSettings
from dipole.digest.smtp import ACCEPTED, PERMANENT, TEMPORARY, Answer, Mailer
from dipole.digest.store import Store, Subscription

WAITING, SENDING = "waiting", "sending"
_ATTEMPTS = 8
_FIRST = 60.0  # seconds until a mail is tried again; twice as long each time


@dataclass(frozen=True)
class Request:
    """A mail that waits: number in the spool, for which subscription, and how often that is to come."""

    number: int
    subscription: Subscription
    every: str
    attempts: int


def waiting(store: Store, time: float | None = None) -> list[Request]:
    """What waits, the oldest first; with ``time`` only what is due by then."""
    with store.reading() as db:
        rows = db.execute(
            "SELECT number, subscription, every, attempts FROM spool WHERE state = ? AND due <= ? ORDER BY number",
            (WAITING, float("inf") if time is None else time),
        ).fetchall()
        found = [(number, stored.found(db, id), every, attempts) for number, id, every, attempts in rows]
    return [Request(number, subscription, every, attempts) for number, subscription, every, attempts in found if subscription is not None]


def flush(store: Store, settings: MailSettings, links: Links, mailer: Mailer, stop: Callable[[], bool] = lambda: False) -> tuple[int, int]:
    """Send what is due; how many left, and how many wait still. ``stop`` is asked before each.

    Raises TransportError, after which what was not sent waits on.
    """
    sent = 0
    for request in waiting(store, stored.now()):
        if stop():
            break
        if not _taken(store, request):
            continue
        moment = datetime.datetime.fromtimestamp(round(stored.now()), datetime.UTC)
        message = confirmation_message(request.subscription, request.every, settings, links, moment)
        left = False

        def leaving() -> bool:
            nonlocal left
            left = True
            return True

        try:
            answer = mailer.send(message, request.subscription.address, leaving, _ignored)
        except BaseException:
            if not left:
                _put(store, request, WAITING, request.attempts)
            raise
        if answer.outcome == TEMPORARY:
            again = request.attempts + 1 < _ATTEMPTS
            _put(store, request, WAITING if again else "given up", request.attempts + 1)
            if not answer.reached:
                break
        else:
            _put(store, request, {ACCEPTED: "sent", PERMANENT: "refused"}.get(answer.outcome, "unknown"), request.attempts + 1)
            sent += answer.outcome == ACCEPTED
    return sent, len(waiting(store))


def _taken(store: Store, request: Request) -> bool:
    with store.changing() as db:
        return db.execute("UPDATE spool SET state = ? WHERE number = ? AND state = ?", (SENDING, request.number, WAITING)).rowcount == 1


def _put(store: Store, request: Request, state: str, attempts: int) -> None:
    due = stored.now() + (_FIRST * 2 ** (attempts - 1) if attempts else 0)
    with store.changing() as db:
        db.execute("UPDATE spool SET state = ?, attempts = ?, due = ? WHERE number = ?", (state, attempts, due, request.number))


def _ignored(answer: Answer) -> None:
    """A temporary failure is counted once, when the mailer has lost patience."""
