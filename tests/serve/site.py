"""A site to look at: made-up papers over some weeks, a model that knows words, and a server in a thread."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import re
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from dipole.search.collection import Collection
from dipole.search.documents import Document

TODAY = datetime.datetime.now(datetime.UTC).date()
TOPICS = {
    "contrastive": ("queues of negatives", "temperature", "momentum encoders", "hard negatives", "gradient caching"),
    "retrieval": ("dense passages", "late interaction", "query expansion", "sparse lexicons", "reranking candidates"),
    "graphs": ("message passing", "node embeddings", "molecule graphs", "spectral filters", "link prediction"),
    "speech": ("spoken words", "speaker identity", "acoustic units", "prosody", "noisy microphones"),
    "vision": ("image patches", "object boxes", "video frames", "colour jitter", "masked pixels"),
}
OPENINGS = ("We study {} in {}.", "This paper is about {} for {}.", "We show what {} do for {}.")
MIDDLES = (
    "Earlier work by Smith et al. (2020) kept everything in memory.",
    "A simple argument explains the effect, e.g. when batches are small.",
    "Our method needs no labels and runs on one machine.",
)
ENDS = ("On {} benchmarks the gain is {} points.", "Code for {} is public; the gain is {} points.")
PEOPLE = ("Ada Lovelace", "Emmy Noether", "Alan Turing", "Grace Hopper", "Sofia Kovalevskaya", "Kurt Gödel", "Barbara Liskov")


class Words:
    """A model without weights: a text is the sum of its words' vectors, each drawn from a generator seeded by the word."""

    model = "words"

    def __init__(self, dimension: int = 256) -> None:
        self.dimension = dimension
        self._words: dict[str, torch.Tensor] = {}

    @property
    def identity(self) -> str:
        return f"words-{self.dimension}".ljust(64, "0")

    def encode(self, items: Sequence[str], batch_size: int = 32, progress: bool = False, side: str = "") -> torch.Tensor:
        rows = [sum((self._word(w) for w in re.findall(r"\w+", text.lower())), torch.full((self.dimension,), 1e-3)) for text in items]
        return torch.nn.functional.normalize(torch.stack(rows), dim=1) if rows else torch.empty(0, self.dimension)

    def _word(self, word: str) -> torch.Tensor:
        if word not in self._words:
            seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=7).digest(), "big")
            vector = torch.randn(self.dimension, generator=torch.Generator().manual_seed(seed))
            self._words[word] = vector * (0.15 if len(word) < 4 else 1.0)
        return self._words[word]


def papers() -> list[Document]:
    """60 papers of five topics over five weeks up to today, on every second or third day."""
    made = []
    for number in range(60):
        topic = list(TOPICS)[number % 5]
        first, second = TOPICS[topic][number // 5 % 5], TOPICS[topic][(number // 5 + 1 + number // 25) % 5]
        text = " ".join(
            [
                OPENINGS[number % 3].format(first, topic),
                MIDDLES[number % 3],
                f"The {second} of {topic} matter most where data are scarce.",
                ENDS[number % 2].format(topic, number),
            ]
        )
        made.append(
            Document(
                f"p{number:02d}",
                text,
                {"venue": ("ACL", "ICML", "NeurIPS")[number % 3], "pages": number},
                title=f"{first.capitalize()} and {second} ({number})",
                authors=tuple(PEOPLE[(number + i) % len(PEOPLE)] for i in range(1 + number % 5)),
                date=TODAY - datetime.timedelta(days=(number // 4) * 5 // 2),
                url=f"https://example.org/papers/{number}",
                votes=(number * 37) % 11,
                tags=(topic, "survey") if number % 7 == 0 else (topic,),
            )
        )
    return made


HOSTILE = (
    Document(
        "a/b c?d=1&e#f", "An id that is a path. It has two sentences.", {"x": "<i>y</i>"}, title="<b>Bold</b> & <script>alert(1)</script>"
    ),
    Document(
        "..",
        '"><img src=x onerror=alert(1)> is the text',
        title="",
        url="javascript:alert(document.domain)",
        tags=('"><svg onload=alert(1)>',),
    ),
    Document(
        "{{ 7 * 7 }}",
        "{% raw %} of a template. \x08 And a control character.",
        title="{{ 7 * 7 }}",
        url=" JaVaScRiPt:alert(1)",
        authors=("O'Brien <x>",),
    ),
    Document(
        "plain",
        "Text alone, without a title, that goes on for a good while so that what stands for its title must be cut somewhere. Second.",
    ),
)


def collection(folder: Path, documents: Sequence[Document]) -> Collection:
    return Collection.create(folder, documents, Words())


@contextlib.contextmanager
def served(folder: Path, model: Any = None, host: str = "127.0.0.1", **settings: Any) -> Iterator[str]:
    """The address of a running server."""
    import uvicorn

    from dipole.serve.app import create_app
    from dipole.serve.settings import Settings

    held = model or Words()
    app = create_app(Settings(folder, host, 0, **{"rate": 0.0, **settings}), load=lambda name: held)
    server = uvicorn.Server(uvicorn.Config(app, host=host, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 30
    while not (server.started and app.state.shelf.ready):
        assert time.monotonic() < end and thread.is_alive(), "the server did not start"
        time.sleep(0.02)
    try:
        yield f"http://{host}:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=20)
