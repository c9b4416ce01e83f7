"""Servers for tests: the application in this process, or a real uvicorn in a thread, over a model without weights.

folder = shelved(tmp_path / "c", [Document("a", "one")])
with asking(folder) as client:                          # httpx, no network
    client.get("/search", params={"q": "one"})
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from starlette.testclient import TestClient

from dipole.search.collection import Collection
from dipole.search.documents import Document
from dipole.serve.app import create_app
from dipole.serve.settings import Settings


class Words:
    """A model without weights: a text's vector is the sum of its words', each drawn from a generator seeded by the word."""

    def __init__(self, model: str = "words", dimension: int = 16) -> None:
        self.model, self.dimension = model, dimension

    @property
    def identity(self) -> str:
        return hashlib.sha256(f"{self.model} {self.dimension}".encode()).hexdigest()

    def encode(self, items: Sequence[str], batch_size: int = 32, progress: bool = False, side: str = "") -> torch.Tensor:
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
