"""A collection: texts, metadata and vectors in a folder, searched exactly.

    s(q, x) = q . x        the cosine, where the model normalises (as sentence-transformers folders say they do)

Every vector of a collection comes from one model, whose name and identity (a hash of weights and settings) are stored;
a query by any other model is refused. The answer is exact: the engine compares the query with every stored vector, read a
block at a time, so memory does not grow with the collection.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import torch

from dipole.core.errors import DataError, ModelMismatchError, ParameterError, UsageError
from dipole.pairwise.topk import topk_search
from dipole.search import store
from dipole.search.documents import Document, Embedder, Hit, refuse_bad_vectors

__all__ = ["Collection"]

_ENCODE_TEXTS = 1024


@dataclass(frozen=True)
class Collection:
    """A collection on disk, as it was when opened; later writes by others do not disturb it until a rebuild.

    Open with :meth:`open`, write with :meth:`create`, :meth:`append` and :meth:`rebuild`. Each write either happens as a
    whole or not at all; a killed one leaves the collection as it was.
    """

    folder: Path
    manifest: store.Manifest

    def __len__(self) -> int:
        return self.manifest.rows

    @property
    def model(self) -> str:
        """The name of the model whose vectors these are: what ``load_encoder`` takes."""
        return self.manifest.model

    @staticmethod
    def open(folder: str | Path) -> Collection:
        """The collection in ``folder``. Raises UsageError where there is none, DataError where it is damaged."""
        return Collection(Path(folder), store.read_manifest(Path(folder)))

    @staticmethod
    def create(folder: str | Path, documents: Iterable[Document], model: Embedder, batch_size: int = 32) -> Collection:
        """A new collection. Raises UsageError where ``folder`` already is one or holds other files."""
        if store.exists(Path(folder)):
            raise UsageError(f"{folder} already is a collection; say append to add to it, rebuild to replace it")
        return _fill(Path(folder), documents, model, batch_size)

    @staticmethod
    def rebuild(folder: str | Path, documents: Iterable[Document], model: Embedder, batch_size: int = 32) -> Collection:
        """Replace a collection, or make a new one. The old one answers until the new one is complete."""
        return _fill(Path(folder), documents, model, batch_size)

    def append(self, documents: Iterable[Document], model: Embedder, batch_size: int = 32) -> Collection:
        """The collection with more documents; their ids must be new. The model must be the one that made it."""
        with store.writing(self.folder):
            now = store.read_manifest(self.folder)
            _same_model(now, model)
            taken = set(store.read_ids(store.open_table(self.folder, now))) if now.rows else set()
            rows = [0]
            first, blocks = _peek(_encoded(documents, model, batch_size, taken, rows))
            if first is None:
                return Collection(self.folder, now)
            if now.rows:
                table, version = store.write_more(self.folder, now, blocks)
                dimension = now.dimension
            else:
                dimension = first[1].shape[1]
                table, version = store.write_new(self.folder, blocks, dimension)
            new = store.Manifest(now.model, now.identity, dimension, now.rows + rows[0], table, version)
            store.write_manifest(self.folder, new)
        return Collection(self.folder, new)

    def search(self, queries: Sequence[str], model: Embedder, k: int = 10) -> list[list[Hit]]:
        """The ``k`` nearest documents of each query, best first; fewer where the collection is smaller.

        Raises ModelMismatchError where ``model`` is not the one that made the collection.
        """
        _same_model(self.manifest, model)
        return self.search_vectors(model.encode(list(queries), side="queries"), k)

    def search_vectors(self, queries: torch.Tensor, k: int = 10) -> list[list[Hit]]:
        """The ``k`` nearest documents of each of (N, d) query vectors. The caller vouches for their model."""
        if k < 1:
            raise ParameterError("search", "k", "a whole number above 0", k)
        refuse_bad_vectors(queries, "query")
        if not self.manifest.rows:
            return [[] for _ in queries]
        if queries.shape[1] != self.manifest.dimension:
            where = f"{self.folder}: the collection's vectors have {self.manifest.dimension} dimensions"
            raise ModelMismatchError(f"{where}, the query's {queries.shape[1]}; query with {self.manifest.model!r}")
        table = store.open_table(self.folder, self.manifest)
        scores, places = self._nearest(queries.float(), table, k)
        found = store.read_documents(table, places.flatten().tolist())
        return [
            [Hit(found[p].id, s, found[p].text, found[p].metadata) for s, p in zip(values, ids, strict=True)]
            for values, ids in zip(scores.tolist(), places.tolist(), strict=True)
        ]

    def _nearest(self, queries: torch.Tensor, table: object, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores and places (N, min(k, rows)): the best of each block joined with the best so far, ties by place."""
        scores = queries.new_empty(len(queries), 0)
        places = torch.empty(len(queries), 0, dtype=torch.int64)
        first = 0
        for block in store.read_vectors(table):
            refuse_bad_vectors(block, str(self.folder), first, "rebuild with: dipole index --rebuild")
            top = topk_search(queries, block, min(k, len(block)))
            scores, places = torch.cat([scores, top.values.to(scores)], 1), torch.cat([places, top.ids + first], 1)
            order = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
            scores, places = scores.gather(1, order), places.gather(1, order)
            first += len(block)
        if first != self.manifest.rows:
            raise DataError(f"the collection must hold {self.manifest.rows} rows, its table holds {first}", path=self.folder)
        return scores, places


def _fill(folder: Path, documents: Iterable[Document], model: Embedder, batch_size: int) -> Collection:
    """Write a whole new table and make it the one that counts. Without documents the collection is an empty one."""
    with store.writing(folder):
        rows = [0]
        first, blocks = _peek(_encoded(documents, model, batch_size, set(), rows))
        dimension = first[1].shape[1] if first else 0
        table, version = store.write_new(folder, blocks, dimension) if first else ("", 0)
        manifest = store.Manifest(_name(model), model.identity, dimension, rows[0], table, version)
        store.write_manifest(folder, manifest)
    return Collection(folder, manifest)


def _encoded(documents: Iterable[Document], model: Embedder, batch_size: int, taken: set[str], rows: list[int]) -> Iterator[store.Block]:
    """Blocks of documents and their vectors, checked. ``taken``: ids in use; ``rows[0]`` counts what went by."""
    left = iter(documents)
    while block := list(islice(left, _ENCODE_TEXTS)):
        for place, document in enumerate(block):
            if document.id in taken:
                remedy = "ids must be unique in a collection; leave the id out, or rebuild"
                raise DataError("this id is already taken", line=rows[0] + place + 1, value=document.id, remedy=remedy)
            taken.add(document.id)
        vectors = model.encode([document.text for document in block], batch_size=batch_size, side="keys")
        refuse_bad_vectors(vectors, f"model {model.model!r}", rows[0])
        rows[0] += len(block)
        yield block, vectors


def _peek(blocks: Iterator[store.Block]) -> tuple[store.Block | None, Iterator[store.Block]]:
    """The first block, and all of them."""
    first = next(blocks, None)
    return first, blocks if first is None else chain([first], blocks)


def _same_model(manifest: store.Manifest, model: Embedder) -> None:
    if model.identity != manifest.identity:
        made, asked = f"{manifest.model!r} ({manifest.identity[:12]})", f"{_name(model)!r} ({model.identity[:12]})"
        rest = "query with the model that made it, or rebuild the collection with the new one"
        raise ModelMismatchError(
            f"the collection was made by {made}, the query's model is {asked}: their vectors cannot be compared; {rest}"
        )


def _name(model: Embedder) -> str:
    """The model's name, made independent of the folder one stands in."""
    path = Path(model.model).expanduser()
    return str(path.resolve()) if path.is_dir() and model.model != "minilm" else model.model
