"""Who the request is addressed to, and whose page sent it.

A page elsewhere can let its own name lead to this machine (DNS rebinding): its requests then carry that name as Host. And it
can send forms here, which carry Sec-Fetch-Site and Origin. Both are refused.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from dipole.serve.guard.refusal import ASGIApp, Receive, Scope, Send, header, refuse
from dipole.serve.settings import Settings

_SAFE = ("GET", "HEAD", "OPTIONS")


class Origin:
    """Refuses hosts that are not this server's with 421, changes that another site's page asks for with 403, and addresses
    that are too long with 414.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        host = header(scope, b"host")
        if self.settings.names and _name(host) not in self.settings.names:
            known = ", ".join(sorted(self.settings.names))
            await refuse(scope, receive, send, 421, f"this server answers to the host names {known}; start it with --base-url to add one")
        elif scope["method"] not in _SAFE and _from_elsewhere(scope, host):
            await refuse(scope, receive, send, 403, "pages of other sites may not change anything here")
        elif len(scope.get("raw_path") or b"") + len(scope["query_string"]) > self.settings.max_url_bytes:
            await refuse(scope, receive, send, 414, f"an address may have {self.settings.max_url_bytes} bytes")
        else:
            await self.app(scope, receive, send)


def _name(host: str) -> str:
    """A Host header without its port, in small letters.

    >>> _name("LocalHost:8000"), _name("[::1]:8000"), _name("a b")
    ('localhost', '::1', '')
    """
    try:
        found = urlsplit(f"//{host}")
        plain = found.netloc == host and not set(host) & set("@ /?#\\") and (found.port is None or found.port > 0)
        return (found.hostname or "") if plain else ""
    except ValueError:
        return ""


def _from_elsewhere(scope: Scope, host: str) -> bool:
    site, origin = header(scope, b"sec-fetch-site"), header(scope, b"origin")
    if site:
        return site not in ("same-origin", "none")
    return bool(origin) and urlsplit(origin).netloc.lower() != host.lower()
