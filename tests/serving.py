"""Servers for tests: the application in this process, or a whole server in one of its own, over a model without weights.

folder = shelved(tmp_path / "c", [Document("a", "one")])
with asking(folder) as client:                          # httpx, no network
    client.get("/search", params={"q": "one"})
with serving(folder) as server:                         # uvicorn on a port
    httpx.get(f"{server.url}/search", params={"q": "one"})
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import torch
from starlette.testclient import TestClient

from dipole.search.collection import Collection
from dipole.search.documents import Document
from dipole.serve.app import create_app
from dipole.serve.settings import Settings
from tests.ports import free_port


class Words:
    """A model without weights: a text's vector is the sum of its words', each drawn from a generator seeded by the word.

    ``pause``: seconds a batch takes; ``wide``: it computes with as many numbers a word as well, as a network would, for nothing.
    """

    def __init__(self, model: str = "words", dimension: int = 16, pause: float = 0.0, wide: int = 0) -> None:
        self.model, self.dimension, self.pause, self.wide = model, dimension, pause, wide

    @property
    def identity(self) -> str:
        return hashlib.sha256(f"{self.model} {self.dimension}".encode()).hexdigest()

    def encode(self, items: Sequence[str], batch_size: int = 32, progress: bool = False, side: str = "") -> torch.Tensor:
        time.sleep(self.pause)
        if self.wide:
            torch.nn.functional.gelu(torch.zeros(len(items), max(len(text.split()) for text in items), self.wide))
        rows = [sum((self._word(word) for word in (text.lower().split() or [""])), torch.zeros(self.dimension)) for text in items]
        return torch.nn.functional.normalize(torch.stack(rows), dim=1) if rows else torch.empty(0, self.dimension)

    def _word(self, word: str) -> torch.Tensor:
        seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=7).digest(), "big")
        return torch.randn(self.dimension, generator=torch.Generator().manual_seed(seed))


def shelved(folder: Path, documents: Sequence[Document], model: Any = None) -> Path:
    """A collection of these documents in the folder, which is returned."""
    Collection.create(folder, documents, model or Words())
    return folder


@contextlib.contextmanager
def asking(folder: Path, model: Any = None, **settings: Any) -> Iterator[TestClient]:
    """A client of the application, once it is ready. ``model``: what every collection's name stands for."""
    app = create_app(Settings(folder, **settings), lambda name: model or Words(name))
    with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 50000)) as client:
        end = time.monotonic() + 20
        while not app.state.shelf.ready:
            assert app.state.shelf.failure is None and time.monotonic() < end, app.state.shelf.failure
            time.sleep(0.01)
        yield client


class Server:
    """``dipole serve`` as a process of its own, over the model without weights."""

    def __init__(self, folder: Path, port: int = 0, **settings: Any) -> None:
        given = ", ".join(f"{name}={value!r}" for name, value in settings.items())
        code = _PROCESS.format(folder=str(folder), given=given)
        self.port = port or free_port()
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by close
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(_ROOT), str(_ROOT / "src")])}
        command = [sys.executable, "-c", code, str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self._log, env=environment)
        self.url = f"http://127.0.0.1:{self.port}"

    def wait(self, seconds: float = 60) -> None:
        """Until it is ready."""
        end = time.monotonic() + seconds
        while True:
            assert self.process.poll() is None and time.monotonic() < end, self.log()
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/health").status_code == 200:
                    return
            time.sleep(0.05)

    def log(self) -> str:
        """What it wrote so far."""
        self._log.seek(0)
        return self._log.read()

    def close(self) -> None:
        """End it, if it has not ended."""
        self.process.kill()
        self.process.wait()
        self._log.close()


@contextlib.contextmanager
def serving(folder: Path, **settings: Any) -> Iterator[Server]:
    """A server on a port of its own, ready; ended at the end. ``pause`` and ``wide`` are its model's."""
    server = Server(folder, **settings)
    try:
        server.wait()
        yield server
    finally:
        server.close()


_ROOT = Path(__file__).parents[1]
_PROCESS = """
import sys
from pathlib import Path
from tests.serving import Words
from dipole.serve.run import serve
from dipole.serve.settings import Settings
given = dict({given})
model = {{name: given.pop(name) for name in ("pause", "wide") if name in given}}
serve(Settings(Path({folder!r}), port=int(sys.argv[1]), **given), lambda name: Words(name, **model))
"""
