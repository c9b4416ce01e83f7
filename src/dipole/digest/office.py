"""A folder's digests, opened: where they are kept, how their links are signed, how their mail leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dipole.digest import settings, spool
from dipole.digest.links import Links, secret
from dipole.digest.settings import MailSettings
from dipole.digest.signup import Signup
from dipole.digest.smtp import Mailer
from dipole.digest.store import Store

STATE = "state"


@dataclass(frozen=True)
class Office:
    """What the command and the served page work with."""

    store: Store
    links: Links
    settings: MailSettings

    @staticmethod
    def open(folder: Path, config: Path | None = None, base_url: str = "", state: Path | None = None) -> Office:
        """The office of ``folder``, made where there was none. ``base_url`` counts where the settings give none; ``state``: where it
        is kept, by default in the folder.

        Raises UsageError and DataError for settings that are wrong.
        """
        kept = state or folder / STATE
        known = settings.read(kept, config, base_url)
        store = Store(kept)
        return Office(store, Links(secret(store.folder), known.base_url), known)

    @property
    def desk(self) -> Signup:
        """Where people sign up and leave."""
        return Signup(self.store, self.links)

    def flush(self, stop: Callable[[], bool] = lambda: False, took: Callable[[], None] = lambda: None) -> spool.Round:
        """Send the confirmations that are due. Without an SMTP server all wait.

        ``stop`` is asked before each, ``took`` called after each that the server took.
        """
        if not self.settings.sends:
            return spool.Round(0, len(spool.waiting(self.store)))
        with Mailer(self.settings) as mailer:
            return spool.flush(self.store, self.settings, self.links, mailer, stop, took)
