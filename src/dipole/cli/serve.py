"""``dipole serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    folder: Annotated[Path, typer.Argument(help="A collection, or a folder of collections.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 for any that is free.")] = 8000,
    host: Annotated[str, typer.Option(help="The address to listen on; another than this machine's own needs a key.")] = "127.0.0.1",
    api_key_file: Annotated[Path | None, typer.Option(help="A file that holds the API key. [default: the variable DIPOLE_API_KEY]")] = None,
    model: Annotated[str, typer.Option(help="The model for queries; must be the collections'. [default: each collection's]")] = "",
    base_url: Annotated[str, typer.Option(help="How people reach the server from outside: https://papers.example.org")] = "",
    state: Annotated[Path | None, typer.Option(help="Where votes and subscribers are kept. [default: DIR/state]")] = None,
    map: Annotated[str, typer.Option(help="How the page's map is drawn: pca, or umap, which takes longer and pip's dipole[map].")] = "pca",
    proxy: Annotated[list[str] | None, typer.Option(help="A reverse proxy's address, whose X-Forwarded-For is believed.")] = None,
    rate: Annotated[float, typer.Option(min=0, help="Requests a second and client after a burst; 0 for no bound.")] = 50.0,
) -> None:
    """Serve collections: a page for people, and a JSON interface for programs.

    New commits are taken up while it runs. It listens on this machine alone unless --host says otherwise, which needs a key.

    Example:
        dipole serve papers --port 8000
        dipole serve papers --host 0.0.0.0 --api-key-file key.txt
        dipole serve papers --base-url https://papers.example.org --proxy 127.0.0.1
        dipole serve papers --state papers-state
    """
    from dipole.serve.run import key_from, serve
    from dipole.serve.settings import Settings

    key = key_from(api_key_file)
    serve(Settings(folder, host, port, key, model=model, base_url=base_url, state=state, map=map, proxies=tuple(proxy or ()), rate=rate))
