"""Which sentence of a document is nearest a query: by the model that found the document, within a bound on what is encoded."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

from dipole.search.documents import Document
from dipole.serve.held import Held
from dipole.serve.page.excerpt import Span, sentences
from dipole.serve.recent import Recent

BUDGET = 64  # sentences encoded for one page of answers; what was encoded before is remembered
_CHARACTERS = 400  # of a sentence
_KEPT = 2000  # documents whose sentences are remembered: up to 40 vectors each, 120 MB at 384 dimensions when all are long


class Sentences:
    """The vectors of the sentences of documents that were shown lately; many threads may ask."""

    def __init__(self, kept: int = _KEPT) -> None:
        self._known: Recent[tuple[str, str], tuple[list[Span], torch.Tensor]] = Recent(kept)

    def near(self, held: Held, query: str, documents: Sequence[Document], budget: int = BUDGET) -> dict[str, Span]:
        """Id -> where its sentence nearest to the query stands. Documents of one sentence, and those past the budget of
        sentences to encode, are left out; the first documents come first.
        """
        found: dict[str, tuple[list[Span], torch.Tensor]] = {}
        wanted: list[tuple[str, tuple[str, str], list[Span], list[str]]] = []
        for document in documents:
            key = (held.collection.manifest.identity, hashlib.sha256(document.text.encode("utf-8", "replace")).hexdigest())
            if (known := self._known.get(key)) is not None:
                found[document.id] = known
                continue
            spans = sentences(document.text)
            if 1 < len(spans) <= budget:
                budget -= len(spans)
                wanted.append((document.id, key, spans, [document.text[a : min(b, a + _CHARACTERS)] for a, b in spans]))
        if wanted:
            vectors = held.encode([text for *_, texts in wanted for text in texts], side="keys")
            for (id, key, spans, _), part in zip(wanted, vectors.split([len(w[2]) for w in wanted]), strict=True):
                found[id] = (spans, torch.nn.functional.normalize(part, dim=1))
                self._known.put(key, found[id])
        if not found:
            return {}
        asked = held.encode([query])[0]
        return {id: spans[int((vectors @ asked).argmax())] for id, (spans, vectors) in found.items()}
