"""The API key: programs send it with every request, people once, in a form that gives their browser a signed cookie.

    Authorization: Bearer KEY      or      X-API-Key: KEY

The cookie holds no key: it is a signature made with it, so a new key ends every session.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from urllib.parse import quote

from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse

from dipole.core.extras import need
from dipole.serve.guard.known import COOKIE, KNOWS
from dipole.serve.guard.rate import Buckets, client
from dipole.serve.guard.refusal import ASGIApp, Receive, Scope, Send, header, refuse
from dipole.serve.settings import Settings

DAYS = 30
# Without a key: whether the server is up, the form that asks for the key and its looks, and the signed links of mails.
OPEN = ("/health", "/login", "/favicon.ico")
OPEN_FOLDERS = ("/static/", "/confirm/", "/unsubscribe/")
WRONG_RATE, WRONG_BURST = 0.2, 10  # wrong keys a client may send


class Sessions:
    """Signed proofs that somebody knew the key."""

    def __init__(self, key: str) -> None:
        self.key = key
        secret = hashlib.sha256(b"dipole session " + key.encode()).digest()
        signer = need("itsdangerous", "serve", "a session").TimestampSigner
        self._signer = signer(secret, salt="dipole.session", digest_method=hashlib.sha256)

    def right(self, key: str) -> bool:
        """Whether it is the key, in the same time wherever it differs."""
        return hmac.compare_digest(hashlib.sha256(key.encode()).digest(), hashlib.sha256(self.key.encode()).digest())

    def new(self) -> str:
        """The cookie for somebody who knew the key."""
        return str(self._signer.sign("in").decode())

    def valid(self, cookie: str) -> bool:
        """Whether a cookie was given here, with this key, in the last 30 days."""
        return bool(cookie) and len(cookie) < 200 and bool(self._signer.validate(cookie, max_age=DAYS * 24 * 3600))


class Key:
    """Refuses with 401 who does not know the key, leads browsers to the form, and answers 429 to who guesses."""

    def __init__(self, app: ASGIApp, settings: Settings, wrong: Buckets) -> None:
        self.app, self.wrong = app, wrong
        self.sessions = Sessions(settings.api_key) if settings.api_key else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self.sessions is None:
            await self.app(scope, receive, send)
            return
        sent, cookie = _sent(scope), cookie_parser(header(scope, b"cookie")).get(COOKIE, "")
        scope[KNOWS] = self.sessions.right(sent) if sent else self.sessions.valid(cookie)
        if scope[KNOWS] or _open(scope["path"]):
            await self.app(scope, receive, send)
        elif sent:
            if wait := self.wrong.take(client(scope)):
                await refuse(scope, receive, send, 429, "too many wrong keys", Retry_After=str(math.ceil(wait)))
            else:
                await refuse(scope, receive, send, 401, "the API key is wrong", WWW_Authenticate="Bearer")
        elif "text/html" in header(scope, b"accept"):
            asked = "/"  # what was sent is lost; where somebody only wanted to look they get
            if scope["method"] in ("GET", "HEAD"):
                asked = scope["path"] + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
            await RedirectResponse(f"/login?next={quote(asked, safe='')}", 303, {"Cache-Control": "no-store"})(scope, receive, send)
        else:
            detail = "an API key is needed: send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"
            await refuse(scope, receive, send, 401, detail, WWW_Authenticate="Bearer")


def _open(path: str) -> bool:
    return path in OPEN or path.startswith(OPEN_FOLDERS)


def _sent(scope: Scope) -> str:
    scheme, _, token = header(scope, b"authorization").partition(" ")
    return header(scope, b"x-api-key") or (token.strip() if scheme.lower() == "bearer" else "")
