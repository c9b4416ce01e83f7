"""What browsers are told with every answer: run nothing from elsewhere, sit in no frame, guess no types, tell nobody.

There is no CORS header, so pages of other sites cannot read an answer.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders

from dipole.serve.guard.refusal import ASGIApp, Message, Receive, Scope, Send
from dipole.serve.settings import Settings

CONTENT = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)


class Headers:
    """Puts the headers on every answer that does not have its own."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.headers = {
            "Content-Security-Policy": CONTENT,
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        }
        if settings.encrypted or settings.on_loopback:  # elsewhere browsers ignore it, and complain
            self.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        if settings.encrypted:
            self.headers["Strict-Transport-Security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, told if scope["type"] == "http" else send)
