"""Which sentence of a document is nearest a query: by the model that found the document, within a bound on what is encoded."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence

import torch

from dipole.search.documents import Document
from dipole.serve.held import Held
from dipole.serve.page.excerpt import Span, sentences
from dipole.serve.recent import Recent

BUDGET = 64  # sentences encoded for one page of answers; what was encoded before is remembered
PATIENCE = 1.5  # seconds after which no more of them are begun
_AT_ONCE = 16  # sentences, so that somebody else's question waits for these at most
_CHARACTERS = 400  # of a sentence
_Wanted = tuple[str, tuple[str, str], list[Span], list[str]]  # id, what it is remembered by, its sentences and their texts
_KEPT = 2000  # documents whose sentences are remembered: up to 40 vectors each, 120 MB at 384 dimensions when all are long


class Sentences:
    """The vectors of the sentences of documents that were shown lately; many threads may ask."""

    def __init__(self, kept: int = _KEPT) -> None:
        self._known: Recent[tuple[str, str], tuple[list[Span], torch.Tensor]] = Recent(kept)

    def near(
        self, held: Held, query: str, documents: Sequence[Document], budget: int = BUDGET, patience: float = PATIENCE
    ) -> dict[str, Span]:
        """Id -> where its sentence nearest to the query stands. Documents of one sentence, and those past the budget of
        sentences to encode or not begun after ``patience`` seconds, are left out; the first documents come first.
        """
        end = time.monotonic() + patience
        found: dict[str, tuple[list[Span], torch.Tensor]] = {}
        wanted: list[_Wanted] = []
        for document in documents:
            key = (held.collection.manifest.identity, hashlib.sha256(document.text.encode("utf-8", "replace")).hexdigest())
            if (known := self._known.get(key)) is not None:
                found[document.id] = known
                continue
            spans = sentences(document.text)
            if 1 < len(spans) <= budget:
                budget -= len(spans)
                wanted.append((document.id, key, spans, [document.text[a : min(b, a + _CHARACTERS)] for a, b in spans]))
        for some in _parts(wanted):
            if time.monotonic() > end:
                break
            vectors = held.encode([text for *_, texts in some for text in texts], side="keys")
            for (id, key, spans, _), part in zip(some, vectors.split([len(w[2]) for w in some]), strict=True):
                found[id] = (spans, torch.nn.functional.normalize(part, dim=1))
                self._known.put(key, found[id])
        if not found:
            return {}
        asked = held.encode([query])[0]
        return {id: spans[int((vectors @ asked).argmax())] for id, (spans, vectors) in found.items()}


def _parts(wanted: Sequence[_Wanted]) -> Iterator[list[_Wanted]]:
    """Runs of documents with about as many sentences as are encoded at once."""
    part: list[_Wanted] = []
    for one in wanted:
        if part and sum(len(spans) for _, _, spans, _ in part) + len(one[2]) > _AT_ONCE:
            yield part
            part = []
        part.append(one)
    if part:
        yield part
