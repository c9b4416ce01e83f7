"""Not more requests at once than the machine can do, and none for longer than it should take.

A thread cannot be stopped, so a request that took too long is answered while its work goes on; the work keeps its place
among those at once until it ends.
"""

from __future__ import annotations

import asyncio
import logging

from dipole.serve.guard.refusal import FREE, ASGIApp, Message, Receive, Scope, Send, refuse
from dipole.serve.settings import Settings

log = logging.getLogger("dipole.serve")


class Busy:
    """Refuses with 503 and Retry-After, at once where everything is taken, or when the time is over."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.most, self.seconds = app, settings.concurrency, settings.request_seconds
        self.working: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == FREE:
            await self.app(scope, receive, send)
            return
        if len(self.working) >= self.most:
            await refuse(scope, receive, send, 503, f"{self.most} requests are being answered already", Retry_After="1")
            return
        begun = over = False

        async def told(message: Message) -> None:
            nonlocal begun
            if not over:
                begun = True
                await send(message)

        work = asyncio.ensure_future(self.app(scope, receive, told))
        self.working.add(work)
        work.add_done_callback(self._ended)
        try:
            await asyncio.wait((work,), timeout=self.seconds)
        except asyncio.CancelledError:
            work.cancel()
            raise
        if work.done():
            work.result()
            return
        over = True
        log.warning("%s took longer than %g s", scope["path"], self.seconds)
        if begun:
            work.cancel()
            raise TimeoutError("the answer could not be sent in time")  # the connection is cut: half an answer is none
        await refuse(scope, receive, send, 503, f"the answer took longer than {self.seconds:g} s", Retry_After="5")

    def _ended(self, work: asyncio.Task[None]) -> None:
        self.working.discard(work)
        if not work.cancelled() and work.exception() is not None:
            log.debug("a request ended with %r", work.exception())
