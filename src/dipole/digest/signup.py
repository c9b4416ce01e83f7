"""Signing up in two steps, and leaving in one.

Whoever asks for a subscription gets the same answer whether or not the address is subscribed already; what differs is the mail, which
only the owner of the address reads. Until its link was followed, that mail is all that is ever sent there.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from dipole.core.errors import DipoleError, UsageError
from dipole.digest import address as addresses
from dipole.digest.links import LinkError, Links
from dipole.digest.store import ACTIVE, DAILY, EVERY, PENDING, Store, Subscription, found, now

HOUR, DAY = 3600.0, 86400.0
A_CLIENT = 10  # sign-ups an hour from one address of the network
EVERYBODY = 200  # sign-ups an hour
A_MAILBOX = 3  # mails a day that ask one mailbox to confirm
SUBSCRIPTIONS = 20  # of one mailbox


class TooManyError(DipoleError):
    """More sign-ups than anybody would make by hand."""


@dataclass(frozen=True)
class Signup:
    """The desk where people sign up: what the served page and the command line call."""

    store: Store
    links: Links

    def ask(self, address: str, query: str = "", every: str = DAILY, collection: str = "", client: str = "") -> None:
        """Take down a wish and put the mail that asks for confirmation into the spool. An empty query means what is trending.

        ``client``: who asks, as the network knows them; kept for a day as a keyed hash. Raises AddressError for what is not an address
        or query, TooManyError above the limits; says nothing of what it found.
        """
        mailbox, topic = _checked(address, query, every)
        same, time = addresses.same(mailbox), now()
        with self.store.changing() as db:
            _clear(db, time, self.links.lifetime)
            who, whom = self._hash(client), self._hash(same)
            by_client = _count(db, "client = ? AND at > ?", who, time - HOUR) if client else 0
            if by_client >= A_CLIENT or _count(db, "at > ?", time - HOUR) >= EVERYBODY:
                raise TooManyError("too many sign-ups; try again in an hour")
            before = _count(db, "mailbox = ? AND at > ?", whom, time - DAY)
            db.execute("INSERT INTO signups VALUES (?, ?, ?)", (time, who, whom))
            (held,) = db.execute("SELECT COUNT(*) FROM subscriptions WHERE mailbox = ?", (same,)).fetchone()
            if before >= A_MAILBOX or held >= SUBSCRIPTIONS:
                return
            id = _wish(db, mailbox, topic, every, collection, time)
            db.execute("INSERT INTO spool (subscription, every, state, made, due) VALUES (?, ?, 'waiting', ?, ?)", (id, every, time, time))

    def admit(self, address: str, query: str, every: str, collection: str, look: Callable[[str], int]) -> Subscription:
        """Subscribe somebody at once, on the caller's word that they agreed: for moving a list of subscribers here."""
        mailbox, topic = _checked(address, query, every)
        with self.store.changing() as db:
            id = _wish(db, mailbox, topic, every, collection, now())
        return self.confirm(self.links.confirm(id, every).rpartition("/")[2], look)

    def clear(self) -> None:
        """Keep nothing of those who never confirmed, nor of sign-ups past. Each sign-up does so too."""
        with self.store.changing() as db:
            _clear(db, now(), self.links.lifetime)

    def offered(self, token: str) -> tuple[Subscription, str]:
        """What a confirmation's link would start, and how often. Changes nothing. Raises LinkError."""
        id, every = self.links.confirmed(token)
        subscription = self.store.subscription(id)
        if subscription is None:
            raise LinkError("this subscription is no more; subscribe again if you want it")
        return subscription, every

    def confirm(self, token: str, look: Callable[[str], int]) -> Subscription:
        """Start the subscription, or change how often it comes; confirming twice is confirming. Raises LinkError.

        ``look``: looks at a collection, so that what is there by now is not taken for new.
        """
        subscription, every = self.offered(token)
        start = look(subscription.collection) if subscription.state != ACTIVE else subscription.look
        with self.store.changing() as db:
            db.execute(
                "UPDATE subscriptions SET confirmed = ?, look = ?, failures = 0 WHERE id = ? AND state != ?",
                (now(), start, subscription.id, ACTIVE),
            )
            db.execute("UPDATE subscriptions SET every = ?, state = ? WHERE id = ?", (every, ACTIVE, subscription.id))
            if (started := found(db, subscription.id)) is None:
                raise LinkError("this subscription is no more; subscribe again if you want it")
        return started

    def held(self, token: str) -> Subscription | None:
        """The subscription that an unsubscription's link would end; None where it has ended. Raises LinkError."""
        return self.store.subscription(self.links.unsubscribed(token))

    def leave(self, token: str) -> Subscription | None:
        """End the subscription and delete all that was kept about it. Raises LinkError."""
        subscription = self.held(token)
        if subscription is not None:
            self.store.forget(id=subscription.id)
        return subscription

    def _hash(self, text: str) -> str:
        return hmac.new(self.links.key, text.encode(), hashlib.sha256).hexdigest()[:24]


def _checked(address: str, query: str, every: str) -> tuple[str, str]:
    """The address and the query in one form."""
    if every not in EVERY:
        raise UsageError(f"every must be {' or '.join(EVERY)}, got {every!r}")
    return addresses.normalised(address), addresses.cleaned(query) if query.strip() else ""


def _wish(db: sqlite3.Connection, mailbox: str, query: str, every: str, collection: str, time: float) -> str:
    """The id of the subscription, which waits for its confirmation where it is new."""
    same = addresses.same(mailbox)
    db.execute(
        """INSERT OR IGNORE INTO subscriptions (id, address, mailbox, collection, query, every, state, made)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
        (secrets.token_hex(12), mailbox, same, collection, query, every, PENDING, time),
    )
    held = "SELECT id FROM subscriptions WHERE mailbox = ? AND collection = ? AND query = ?"
    return str(db.execute(held, (same, collection, query)).fetchone()[0])


def _clear(db: sqlite3.Connection, time: float, lifetime: float) -> None:
    db.execute("DELETE FROM signups WHERE at < ?", (time - DAY,))
    db.execute(
        "DELETE FROM subscriptions WHERE state = ? AND made < ? AND id NOT IN (SELECT subscription FROM spool WHERE made > ?)",
        (PENDING, time - lifetime, time - lifetime),
    )


def _count(db: sqlite3.Connection, where: str, *values: str | float) -> int:
    return int(db.execute(f"SELECT COUNT(*) FROM signups WHERE {where}", values).fetchone()[0])
