"""Run the server in this process until it is told to stop."""

from __future__ import annotations

import copy
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

from dipole.core.errors import UsageError
from dipole.core.extras import need
from dipole.search.documents import Embedder
from dipole.serve.settings import KEY_VARIABLE, Settings

log = logging.getLogger("dipole.serve")


def key_from(file: Path | None) -> str:
    """The API key in a file, or in the environment; empty where neither says one. Raises UsageError for an empty file."""
    if file is None:
        return os.environ.get(KEY_VARIABLE, "").strip()
    try:
        key = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--api-key-file {file}: cannot be read as text: {error}") from None
    if not key:
        raise UsageError(f"--api-key-file {file}: the file is empty; it must hold the key")
    return key


def _listening(settings: Settings) -> socket.socket:
    """A socket on the host and port. Raises UsageError where they cannot be had."""
    opened = None
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # Of this protocol by name: on others asyncio leaves Nagle's algorithm on, which holds every answer back for 40 ms.
        opened = socket.socket(found[0], socket.SOCK_STREAM, socket.IPPROTO_TCP)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(found[4])
        opened.listen(2048)
        return opened
    except OSError as error:
        if opened is not None:
            opened.close()
        remedy = "give another --port or --host, or end what listens there"
        raise UsageError(f"serve: cannot listen on {settings.host} port {settings.port}: {error.strerror or error}; {remedy}") from None


def _keep_no_kernels() -> None:
    """Have oneDNN make its kernels anew instead of keeping one for every shape of a batch, of which queries have a thousand.

    Each pins the memory freed around it: GELU alone came to hold 300 MB. Made anew it takes 0.06 ms longer. Counts where nothing was
    computed before.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "0")


def serve(settings: Settings, load: Callable[[str], Embedder] | None = None) -> None:
    """Listen and answer until SIGTERM or SIGINT; requests under way are finished first. ``load`` as in ``create_app``.

    Raises what makes a collection impossible to serve, with its name.
    """
    uvicorn = need("uvicorn", "serve", "dipole serve")
    need("fastapi", "serve", "dipole serve")
    from dipole.serve.app import create_app
    from dipole.serve.guard.slow import protocol

    def stop() -> None:
        server.should_exit = True

    _keep_no_kernels()
    app = create_app(settings, load, stop)
    logs = copy.deepcopy(uvicorn.config.LOGGING_CONFIG)
    logs["loggers"]["dipole"] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=logs,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=list(settings.proxies),
        http=protocol(settings.header_seconds),
        h11_max_incomplete_event_size=2 * settings.max_url_bytes,
        ws="none",
        limit_concurrency=settings.connections,
        timeout_graceful_shutdown=max(1, round(settings.shutdown_seconds)),
    )
    server = uvicorn.Server(config)
    with _listening(settings) as listening:
        host, port = listening.getsockname()[:2]
        log.info("http://%s:%d", f"[{host}]" if ":" in host else host, port)
        server.run([listening])
    if app.state.shelf.failure is not None:
        raise app.state.shelf.failure
