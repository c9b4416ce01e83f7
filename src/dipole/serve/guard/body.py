"""Bodies are read whole before anything else is done with a request: up to a size, within a time."""

from __future__ import annotations

import asyncio

from dipole.serve.guard.refusal import ASGIApp, Message, Receive, Scope, Send, header, refuse
from dipole.serve.settings import Settings


class Body:
    """Refuses bodies that are too large with 413 (before reading them, where their length is said) and slow ones with 408."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.most, self.seconds = app, settings.max_body_bytes, settings.body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = header(scope, b"content-length") if scope["type"] == "http" else ""
        if scope["type"] != "http" or not (length or header(scope, b"transfer-encoding")):
            await self.app(scope, receive, send)
            return
        too_large = f"a body may have {self.most} bytes"
        if int(length or 0) > self.most:
            await refuse(scope, receive, send, 413, too_large, Connection="close")
            return
        held = bytearray()
        try:
            async with asyncio.timeout(self.seconds):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return
                    held += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(held) > self.most:
                        await refuse(scope, receive, send, 413, too_large, Connection="close")
                        return
        except TimeoutError:
            await refuse(scope, receive, send, 408, f"the body did not come within {self.seconds:g} s", Connection="close")
            return
        given = False

        async def whole() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": bytes(held), "more_body": False}

        await self.app(scope, whole, send)
