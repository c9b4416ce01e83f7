"""Digests handed to the mail server one by one, each step in the ledger.

What the server puts off for one recipient is tried again after everybody else has had his mail, so one that is slow to take holds up
nobody. A server that takes no mail, or leaves several in a row without an answer, ends the run: each mail that it may have taken is
one that its reader does not get again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dipole.digest import ledger
from dipole.digest.compose import Digest
from dipole.digest.smtp import ACCEPTED, PERMANENT, TEMPORARY, UNKNOWN, WITHDRAWN, Answer, Mailer, TransportError
from dipole.digest.store import Store

_STATES = {ACCEPTED: ledger.SENT, PERMANENT: ledger.REFUSED, UNKNOWN: ledger.UNKNOWN}
_SILENCES = 3  # mails in a row that the server said nothing about


class Delivery:
    """One run's mail. ``counts``: how many of each state of the ledger, and how many subscriptions ``suspended`` and ``withdrawn``;
    ``trouble``: why going on is of no use, empty where it is.
    """

    def __init__(self, store: Store, mailer: Mailer, looks: Mapping[str, int]) -> None:
        self.trouble = ""
        self.counts = dict.fromkeys((*_STATES.values(), ledger.DEFERRED, "suspended", "withdrawn"), 0)
        self._store, self._mailer, self._looks = store, mailer, looks
        self._put_off: list[tuple[Digest, Any]] = []
        self._silent: set[str] = set()  # subscriptions, since the server last said something

    def send(self, digest: Digest, message: Any) -> None:
        """Send one. Raises TransportError where nobody would get anything."""
        if not self._settled(digest, message):
            self._put_off.append((digest, message))
            self.counts[ledger.DEFERRED] += 1

    def finish(self) -> None:
        """Try again what was put off, after growing pauses; what remains is for the next run."""
        pause = self._mailer.settings.pause
        for _ in range(self._mailer.settings.retries):
            if not self._put_off or self.trouble:
                return
            self._mailer.sleep(pause)
            pause *= 2
            waiting, self._put_off = self._put_off, []
            for digest, message in waiting:
                if self.trouble or not self._settled(digest, message):
                    self._put_off.append((digest, message))
                else:
                    self.counts[ledger.DEFERRED] -= 1

    def _settled(self, digest: Digest, message: Any) -> bool:
        """Whether it is known what became of it; False where it can be tried again."""
        subscription = digest.subscription
        look = self._looks[subscription.collection]
        line = ledger.Line(subscription.id, digest.period, digest.content, [d.id for d in digest.documents], look)

        def back(answer: Answer) -> None:
            ledger.ended(self._store, line, ledger.DEFERRED, answer.reply)

        try:
            answer = self._mailer.send(message, subscription.address, lambda: ledger.leaves(self._store, line), back)
        except TransportError as error:
            raise TransportError(f"{error} ({self.counts[ledger.SENT]} sent before)") from None
        self._silent = set() if answer.heard else self._silent | {subscription.id}
        if not answer.reached:
            self.trouble = f"the mail server takes no mail ({answer.reply})"
        elif len(self._silent) >= _SILENCES:
            self.trouble = f"the mail server left {_SILENCES} mails in a row without an answer ({answer.reply})"
        if answer.outcome == TEMPORARY:
            return False
        if answer.outcome == WITHDRAWN:
            self.counts["withdrawn"] += 1
            return True
        state = _STATES[answer.outcome]
        self.counts["suspended"] += ledger.ended(self._store, line, state, answer.reply, blame=not answer.policy)
        self.counts[state] += 1
        return True
