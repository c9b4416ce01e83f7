"""What a server is told before it starts; checked whole, and never changed afterwards."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from dipole.core.addresses import is_loopback
from dipole.core.errors import MissingExtraError, ParameterError, UnknownNameError, UsageError
from dipole.digest.office import STATE
from dipole.report.maps import MAPS

KEY_VARIABLE = "DIPOLE_API_KEY"
_KEY_LENGTH = 16
_NEW_KEY = 'python -c "import secrets; print(secrets.token_urlsafe(32))" > key.txt'


@dataclass(frozen=True)
class Settings:
    """The folder (one collection, or a folder of collections), the address, the key, and the limits.

    ``api_key`` empty: none is asked for, which only a loopback host allows. ``base_url``: how people reach the server from
    outside (https://papers.example.org), for links in mails; its host is answered to. ``state``: where votes and subscribers are
    kept; by default beside the collection's own files, in ``folder/state``. ``map``: how the page's map is drawn,
    pca or umap. ``proxies``: addresses of reverse proxies whose X-Forwarded-For is believed. Seconds, bytes and characters say
    so in their names. ``rate`` is requests a second and client, after a ``burst``; 0 for no bound.

    Raises UsageError for a host that others can reach without a key, ParameterError for a value out of range.
    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str = field(default="", repr=False)
    model: str = ""
    base_url: str = ""
    state: Path | None = None
    map: str = "pca"
    proxies: tuple[str, ...] = ()
    rate: float = 50.0
    burst: int = 200
    concurrency: int = 128
    connections: int = 1000
    request_seconds: float = 30.0
    header_seconds: float = 10.0
    body_seconds: float = 20.0
    shutdown_seconds: float = 30.0
    reload_seconds: float = 1.0
    max_body_bytes: int = 1_000_000

    # What the OpenAPI document promises; the same for every server.
    max_url_bytes: ClassVar[int] = 100_000
    max_query_chars: ClassVar[int] = 2_000
    max_k: ClassVar[int] = 100
    max_page: ClassVar[int] = 100
    max_texts: ClassVar[int] = 64
    max_text_chars: ClassVar[int] = 10_000

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ParameterError("serve", "port", "from 0 (any that is free) to 65535", self.port)
        if self.rate < 0 or (self.rate and self.burst < 1):
            raise ParameterError("serve", "rate", "at least 0, with a burst of at least 1", (self.rate, self.burst))
        seconds = ("request_seconds", "header_seconds", "body_seconds", "shutdown_seconds", "reload_seconds")
        for name in ("concurrency", "connections", "max_body_bytes", *seconds):
            if not getattr(self, name) > 0:
                raise ParameterError("serve", name, "above 0", getattr(self, name))
        if self.base_url and (urlsplit(self.base_url).scheme not in ("http", "https") or not urlsplit(self.base_url).hostname):
            raise ParameterError("serve", "base_url", "an http or https address, such as https://papers.example.org", self.base_url)
        if self.map not in MAPS:
            raise UnknownNameError("map", self.map, MAPS)
        if self.map == "umap" and importlib.util.find_spec("umap") is None:
            raise MissingExtraError("map", "the map umap", "umap")
        key = self.api_key
        if key and (len(key) < _KEY_LENGTH or not key.isascii() or not key.isprintable() or " " in key):
            rule = f"the API key must be at least {_KEY_LENGTH} printable ASCII characters without spaces"
            raise UsageError(f"serve: {rule}, got {len(key)} characters; make one with: {_NEW_KEY}")
        if not key and not self.on_loopback:
            rest = f"make one with: {_NEW_KEY}; then add --api-key-file key.txt, or set {KEY_VARIABLE}; or leave out --host"
            raise UsageError(f"serve: host {self.host!r} can be reached from other machines, which needs an API key; {rest}")

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the host."""
        return is_loopback(self.host)

    @property
    def encrypted(self) -> bool:
        """Whether people reach the server by https."""
        return self.base_url.startswith("https://")

    @property
    def names(self) -> frozenset[str]:
        """The Host names answered to; empty for all. On loopback a page of another name, made to lead here, must not be."""
        if not self.on_loopback:
            return frozenset()
        outside = {urlsplit(self.base_url).hostname or ""} - {""}
        return frozenset({"localhost", "127.0.0.1", "::1", self.host.strip("[]"), *outside})

    @property
    def state_folder(self) -> Path:
        """Where the state of people lies: votes, subscribers. No write to a collection touches it."""
        return self.state or self.folder / STATE
