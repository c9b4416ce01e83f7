"""Sends what waits in the spool, in a thread of its own, so that nobody who signs up waits for a mail server or learns from the wait."""

from __future__ import annotations

import logging
import threading

from dipole.core.errors import DipoleError
from dipole.digest.office import Office

log = logging.getLogger("dipole.digest")
_AGAIN = 60.0  # seconds until what was put off is looked at again


class Postman:
    """Works from the first nudge until nothing waits any more. Without an SMTP server he does nothing: ``dipole digest`` sends then.

    ``sent``: mails the server took; ``failures``: rounds cut short for a reason that was no recipient's, such as a server that is down.
    """

    def __init__(self, office: Office) -> None:
        self.office = office
        self.sent = self.failures = 0
        self._lock = threading.Lock()
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def nudge(self) -> None:
        """There is something to send. Returns at once."""
        if not self.office.settings.sends:
            return
        with self._lock:
            self._wake.set()
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._work, name="dipole-postman", daemon=True)
                self._thread.start()

    def close(self, timeout: float = 10.0) -> None:
        """Finish the mail in hand and stop; what waits, waits for the next start or ``dipole digest``."""
        with self._lock:
            self._stop.set()
            self._wake.set()
            thread = self._thread
        if thread is not None:
            thread.join(timeout)

    def _work(self) -> None:
        while True:
            self._wake.clear()
            left = self._round()
            with self._lock:
                if self._stop.is_set() or (not left and not self._wake.is_set()):
                    self._thread = None
                    return
            self._wake.wait(_AGAIN)

    def _round(self) -> int:
        """How many wait still."""
        try:
            done = self.office.flush(self._stop.is_set, self._took)
        except DipoleError as error:
            self.failures += 1
            log.error("confirmations cannot be sent: %s", error)
            return 1
        except Exception:  # whatever it was, those who sign up later are to get their mail
            self.failures += 1
            log.exception("confirmations cannot be sent")
            return 1
        if done.trouble:
            self.failures += 1
            log.warning("confirmations wait: %s", done.trouble)
        if done.sent or done.waiting:
            log.info("confirmations: %d sent, %d wait", done.sent, done.waiting)
        return done.waiting

    def _took(self) -> None:
        self.sent += 1
