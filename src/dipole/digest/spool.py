"""Mails that ask for confirmation, from the moment somebody signs up until they have left.

The server sends them in the background where it has an SMTP server; else they wait here until ``dipole digest`` does. One is marked in
one transaction just before its body leaves, so of two processes one sends it, and what a process dies over before that waits on; after
that it is not sent again, the person asks again.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass

from dipole.digest import store as stored
from dipole.digest.compose import confirmation_message
from dipole.digest.links import Links
from dipole.digest.settings import MailSettings
from dipole.digest.smtp import ACCEPTED, PERMANENT, TEMPORARY, WITHDRAWN, Answer, Mailer
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


@dataclass(frozen=True)
class Round:
    """What a flush did: mails that the server took, and how many wait still; ``trouble``: why the server takes no mail, empty where
    it does.
    """

    sent: int
    waiting: int
    trouble: str = ""


def waiting(store: Store, time: float | None = None) -> list[Request]:
    """What waits, the oldest first; with ``time`` only what is due by then."""
    with store.reading() as db:
        rows = db.execute(
            "SELECT number, subscription, every, attempts FROM spool WHERE state = ? AND due <= ? ORDER BY number",
            (WAITING, float("inf") if time is None else time),
        ).fetchall()
        found = [(number, stored.found(db, id), every, attempts) for number, id, every, attempts in rows]
    return [Request(number, subscription, every, attempts) for number, subscription, every, attempts in found if subscription is not None]


def flush(
    store: Store,
    settings: MailSettings,
    links: Links,
    mailer: Mailer,
    stop: Callable[[], bool] = lambda: False,
    took: Callable[[], None] = lambda: None,
) -> Round:
    """Send what is due. ``stop`` is asked before each, ``took`` called after each that the server took.

    Raises TransportError, after which what was not sent waits on.
    """
    sent, trouble = 0, ""
    for request in waiting(store, stored.now()):
        if stop():
            break
        moment = datetime.datetime.fromtimestamp(round(stored.now()), datetime.UTC)
        message = confirmation_message(request.subscription, request.every, settings, links, moment)
        hold = _Hold(store, request)
        answer = mailer.send(message, request.subscription.address, hold.take, hold.give_back)
        if answer.outcome == TEMPORARY and not answer.reached:
            trouble = f"the mail server takes no mail ({answer.reply})"
            break  # says nothing of this mail
        if answer.outcome == TEMPORARY:
            hold.put(WAITING if request.attempts + 1 < _ATTEMPTS else "given up")
        elif answer.outcome != WITHDRAWN:
            hold.put({ACCEPTED: "sent", PERMANENT: "refused"}.get(answer.outcome, "unknown"))
            if answer.outcome == ACCEPTED:
                sent += 1
                took()
    return Round(sent, len(waiting(store)), trouble)


class _Hold:
    """A request on its way out. What another process has marked meanwhile stays as it is."""

    def __init__(self, store: Store, request: Request) -> None:
        self._store, self._request = store, request
        self._state = WAITING  # as this process left it

    def take(self) -> bool:
        """Mark that the body is about to leave; False where another process did, or the person is gone."""
        return self._change(SENDING)

    def give_back(self, answer: Answer) -> None:
        """The server put it off, so it has not left."""
        self._change(WAITING)

    def put(self, state: str) -> None:
        """What became of this attempt."""
        attempts = self._request.attempts + 1
        self._change(state, attempts=attempts, due=stored.now() + _FIRST * 2 ** (attempts - 1))

    def _change(self, state: str, **also: float) -> bool:
        columns = {"state": state, **also}
        said = f"UPDATE spool SET {', '.join(f'{name} = ?' for name in columns)} WHERE number = ? AND state = ?"
        with self._store.changing() as db:
            changed = db.execute(said, (*columns.values(), self._request.number, self._state)).rowcount == 1
        self._state = state if changed else self._state
        return changed
