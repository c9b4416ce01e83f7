"""Not more than so many requests a second from one client: a bucket of tokens each, filled at a steady rate."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from dipole.serve.guard.refusal import FREE, ASGIApp, Receive, Scope, Send, refuse
from dipole.serve.settings import Settings

_CLIENTS = 10_000  # buckets kept; the one used longest ago goes first, and comes back full


class Buckets:
    """A bucket of ``burst`` tokens for each name, which gains ``rate`` a second. Not for several threads.

    >>> now = [0.0]
    >>> buckets = Buckets(rate=2, burst=1, clock=lambda: now[0])
    >>> buckets.take("a"), buckets.take("a")
    (0.0, 0.5)
    >>> now[0] = 0.5; buckets.take("a")
    0.0
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.burst, self.clock = rate, float(burst), clock
        self._held: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> float:
        """Take a token: 0 where there was one, else the seconds until there is."""
        now = self.clock()
        tokens, then = self._held.pop(name, (self.burst, now))
        tokens = min(self.burst, tokens + (now - then) * self.rate)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self.rate
        self._held[name] = (tokens if wait else tokens - 1, now)
        while len(self._held) > _CLIENTS:
            self._held.popitem(last=False)
        return wait


class Rate:
    """Refuses with 429 and Retry-After."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.buckets = Buckets(settings.rate, settings.burst) if settings.rate else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self.buckets is None or scope["path"] == FREE:
            await self.app(scope, receive, send)
        elif wait := self.buckets.take(client(scope)):
            detail = f"more than {self.buckets.rate:g} requests a second"
            await refuse(scope, receive, send, 429, detail, Retry_After=str(math.ceil(wait)))
        else:
            await self.app(scope, receive, send)


def client(scope: Scope) -> str:
    """Whose bucket: the address; of IPv6 the /64, which one household has."""
    host = (scope.get("client") or ("",))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return str(host)
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else str(address)
