"""Run the server in this process until it is told to stop."""

from __future__ import annotations

import os
from pathlib import Path

from dipole.core.errors import UsageError
from dipole.core.extras import need
from dipole.serve.settings import KEY_VARIABLE, Settings


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


def serve(settings: Settings) -> None:
    """Listen and answer until SIGTERM or SIGINT; requests under way are finished first.

    Raises what makes a collection impossible to serve, with its name.
    """
    uvicorn = need("uvicorn", "serve", "dipole serve")
    need("fastapi", "serve", "dipole serve")
    from dipole.serve.app import create_app
    from dipole.serve.guard.slow import protocol

    def stop() -> None:
        server.should_exit = True

    app = create_app(settings, failed=stop)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=list(settings.proxies),
        http=protocol(settings.header_seconds),
        ws="none",
        limit_concurrency=settings.connections,
        timeout_graceful_shutdown=max(1, round(settings.shutdown_seconds)),
    )
    server = uvicorn.Server(config)
    server.run()
    if app.state.shelf.failure is not None:
        raise app.state.shelf.failure
