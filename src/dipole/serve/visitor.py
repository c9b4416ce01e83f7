"""Who is asking: a random number in a signed cookie, and tokens that prove a form came from a page given to that visitor.

The number says nothing about a person; nobody can make one up or take another's, since it is signed with the secret in
``state/secret``, which is drawn once. A form's token is a signature of the visitor's number: another site's page can send the
form, cookie and all, but does not know the token.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path

from dipole.core.errors import DataError
from dipole.core.extras import need
from dipole.core.files import keep_secret, own_folder

_LEAST = 32  # characters of a secret


class Visitors:
    """Cookies and tokens under one secret."""

    def __init__(self, secret: str) -> None:
        signer = need("itsdangerous", "serve", "the page").Signer
        self._cookies = signer(secret, salt="dipole.visitor", digest_method=hashlib.sha256)
        self._tokens = signer(secret, salt="dipole.form", digest_method=hashlib.sha256)

    def new(self) -> str:
        """The number of somebody not seen before."""
        return secrets.token_urlsafe(15)

    def cookie(self, visitor: str) -> str:
        """The cookie that says who somebody is."""
        return str(self._cookies.sign(visitor).decode())

    def known(self, cookie: str) -> str:
        """The visitor a cookie names; empty where it was not signed here."""
        if not cookie or len(cookie) > 200 or not self._cookies.validate(cookie):
            return ""
        return str(self._cookies.unsign(cookie).decode())

    def token(self, visitor: str) -> str:
        """What a form given to this visitor carries."""
        return str(self._tokens.get_signature(visitor).decode())

    def genuine(self, visitor: str, token: str) -> bool:
        """Whether the form was given to this visitor. Takes the same time wherever the token differs."""
        return bool(visitor) and hmac.compare_digest(self.token(visitor).encode(), token.encode())


def secret_in(folder: Path) -> str:
    """The folder's secret, drawn and kept (readable by its owner alone) where there is none.

    Of two processes that draw at once, both get the one that was kept. Raises DataError where the file holds no secret.
    """
    own_folder(folder)
    path = folder / "secret"
    if not path.exists():
        keep_secret(path, secrets.token_urlsafe(32))
    secret = path.read_text(encoding="ascii", errors="replace").strip()
    if len(secret) < _LEAST:
        raise DataError(f"a secret has at least {_LEAST} characters", path=path, remedy="delete the file: a new one is drawn")
    return secret
