"""A collection as it is served: one commit, open, and the model that answers for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from dipole.search.collection import Collection
from dipole.search.documents import Embedder, Hit
from dipole.search.filters import Filter

How = Literal["meaning", "words", "hybrid"]
EVERYTHING = Filter()


@dataclass(frozen=True)
class Held:
    """One commit of one collection. It never changes: a later commit is another ``Held``, so a request that took this one
    sees the same documents from its beginning to its end.
    """

    name: str
    collection: Collection
    encoder: Embedder

    @property
    def version(self) -> str:
        """What tells this commit from every other: the commit's number and the table it names."""
        held = self.collection.manifest
        return f"{held.number}-{held.table.removeprefix('rows-')}-{held.version}"

    def warm(self) -> None:
        """Ask each kind of question once, so that nobody has to wait for what is read or made at the first."""
        if not len(self.collection):
            return
        self.collection.keep_vectors()
        [first] = self.collection.browse("newest", 1)
        self.collection.similar(first.id, 1)
        self.collection.search_vectors(torch.ones(1, self.collection.manifest.dimension), 1)
        self.collection.search_words(first.title or first.text[:100], 1)

    def search(self, query: str, k: int = 10, where: Filter = EVERYTHING, how: How = "meaning") -> list[Hit]:
        """The ``k`` best documents for a query. Blocks: call it off the event loop, as a plain ``def`` route is."""
        if how == "words":
            return self.collection.search_words(query, k, where)
        if how == "hybrid":
            return self.collection.search_hybrid(query, self.encoder, k, where)
        return self.collection.search([query], self.encoder, k, where)[0]

    def similar(self, id: str, k: int = 10, where: Filter = EVERYTHING) -> list[Hit] | None:
        """More like the document ``id``, itself left out; None where there is no such document."""
        return self.collection.similar(id, k, where) if self.collection.get([id]) else None

    def encode(self, texts: Sequence[str], side: str = "queries") -> torch.Tensor:
        """(N, d) float32 vectors of texts by the collection's model. Blocks."""
        return self.encoder.encode(texts, side=side)
