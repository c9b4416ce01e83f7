"""Signed links: whoever holds one may confirm, or unsubscribe, one subscription and nothing else.

A confirmation expires, an unsubscription never does. Signatures are HMAC-SHA256 under a key that stays on this machine; whoever
changes the key makes every link in mails already sent worthless.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dipole.core.errors import DataError, DipoleError
from dipole.core.extras import need
from dipole.core.files import keep_secret

KEY, KEY_FILE = "DIPOLE_DIGEST_KEY", "DIPOLE_DIGEST_KEY_FILE"  # environment
LIFETIME = 3 * 24 * 3600  # seconds a confirmation can wait
_SHORTEST = 16


class LinkError(DipoleError):
    """A link that was not made here, was changed on its way, or is too old."""


@dataclass(frozen=True)
class Links:
    """Makes and reads the tokens, and writes them as addresses under ``base_url``."""

    key: bytes
    base_url: str = ""
    lifetime: float = LIFETIME

    def confirm(self, subscription: str, every: str) -> str:
        """The address that confirms a subscription at this frequency."""
        return f"{self.base_url}/confirm/{self._expiring().dumps([subscription, every])}"

    def unsubscribe(self, subscription: str) -> str:
        """The address that ends a subscription."""
        return f"{self.base_url}/unsubscribe/{self._lasting().dumps(subscription)}"

    def confirmed(self, token: str) -> tuple[str, str]:
        """The subscription and frequency of a token. Raises LinkError."""
        found = self._read(self._expiring(), token, max_age=self.lifetime)
        if not (isinstance(found, list) and len(found) == 2 and all(isinstance(part, str) for part in found)):
            raise LinkError("this link was not made here")
        return found[0], found[1]

    def unsubscribed(self, token: str) -> str:
        """The subscription of a token, however old. Raises LinkError."""
        return str(self._read(self._lasting(), token))

    def _expiring(self) -> Any:
        kind = need("itsdangerous", "serve", "signed links").URLSafeTimedSerializer
        return kind(self.key, salt="dipole.digest.confirm", signer_kwargs={"digest_method": hashlib.sha256})

    def _lasting(self) -> Any:
        kind = need("itsdangerous", "serve", "signed links").URLSafeSerializer
        return kind(self.key, salt="dipole.digest.unsubscribe", signer_kwargs={"digest_method": hashlib.sha256})

    def _read(self, serializer: Any, token: str, **limits: float) -> Any:
        signed = need("itsdangerous", "serve", "signed links")
        try:
            return serializer.loads(token, **limits)
        except signed.SignatureExpired:
            raise LinkError("this link is too old; subscribe once more and a new one comes") from None
        except (signed.BadData, UnicodeError):
            raise LinkError("this link was not made here, or lost something on its way; copy all of it") from None


def secret(state: Path) -> bytes:
    """The key: of the environment, or of ``digest.key`` in the state folder, made there once, for its owner's eyes only."""
    if (given := os.environ.get(KEY)) is not None:
        return _long_enough(given.strip().encode(), f"the environment's {KEY}")
    path = Path(os.environ.get(KEY_FILE) or state / "digest.key")
    if KEY_FILE not in os.environ and not path.exists():
        keep_secret(path, secrets.token_hex(32))
    try:
        return _long_enough(path.read_bytes().strip(), path)
    except OSError as error:
        raise DataError("the key that signs links cannot be read", path=path, value=error.strerror) from error


def _long_enough(key: bytes, where: str | Path) -> bytes:
    if len(key) < _SHORTEST:
        remedy = "openssl rand -hex 32 makes one"
        raise DataError(f"the key that signs links must have at least {_SHORTEST} bytes", path=where, remedy=remedy)
    return key
