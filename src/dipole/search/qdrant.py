"""A collection in Qdrant, for teams that run one: copied there with all that our filters need, asked by the same queries and filters.

A point's id is the UUID of its document's id, so copying again replaces what changed, adds what is new and removes what went. The
model's identity lies in the Qdrant collection's metadata (Qdrant 1.16 and later), and queries by another model are refused.
Words, titles' and tokens' vectors stay with our own collection.
"""

from __future__ import annotations

import datetime
import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dipole.core.errors import DataError, ModelMismatchError, ParameterError, UsageError
from dipole.core.extras import need
from dipole.search import table as tables
from dipole.search.collection import EVERYTHING, Collection
from dipole.search.documents import Document, Embedder, Hit, refuse_bad_vectors
from dipole.search.filters import Filter, facet, facets_of

PREFIX = "qdrant:"
_FOR = "a collection in Qdrant"
_SPACE = uuid.UUID("6f0f5a0e-6f0c-5d0e-9d7e-3d1b2f6f4a11")
_POINTS = 512  # sent or asked for at once


@dataclass(frozen=True)
class Copied:
    """What copying did: numbers of documents."""

    new: int
    changed: int
    same: int
    removed: int


@dataclass(frozen=True)
class Qdrant:
    """A collection in Qdrant: ``client`` is a ``QdrantClient``, ``name`` the collection's name there."""

    client: Any
    name: str

    @staticmethod
    def at(place: str) -> Qdrant:
        """``qdrant:http://host:6333/NAME``, or ``qdrant:FOLDER/NAME`` for a folder of the client's local mode.

        The key, if the server wants one, is read from QDRANT_API_KEY. Raises UsageError where a part is missing.
        """
        where, _, name = place.removeprefix(PREFIX).rpartition("/")
        if not where or not name or where.endswith(("/", ":")):
            raise UsageError(f"{place}: write qdrant:http://host:6333/NAME, or qdrant:FOLDER/NAME")
        made = need("qdrant_client", "qdrant", _FOR).QdrantClient
        if "://" in where:
            return Qdrant(made(url=where, api_key=os.environ.get("QDRANT_API_KEY")), name)
        return Qdrant(made(path=str(Path(where).expanduser())), name)

    @property
    def metadata(self) -> dict[str, Any]:
        """``model`` and ``identity``. Raises UsageError where there is no such collection, or not one of ours."""
        if not self.client.collection_exists(self.name):
            raise UsageError(f"Qdrant has no collection {self.name!r}; copy one with: dipole collection FOLDER --to qdrant:...")
        held = self.client.get_collection(self.name).config.metadata or {}
        if "identity" not in held:
            raise UsageError(f"the Qdrant collection {self.name!r} was not copied by dipole; choose another name")
        return dict(held)

    @property
    def model(self) -> str:
        """The name of the model whose vectors these are."""
        return str(self.metadata["model"])

    def __len__(self) -> int:
        return int(self.client.count(self.name, exact=True).count)

    def copy(self, collection: Collection) -> Copied:
        """Bring the Qdrant collection to what ``collection`` holds. What is equal already is not sent again; a copying that was
        interrupted is finished by another. Raises ModelMismatchError where it holds vectors of another model.
        """
        models = need("qdrant_client.models", "qdrant", _FOR)
        now = collection.manifest
        if not self.client.collection_exists(self.name):
            if not now.dimension:
                raise UsageError(f"{collection.folder} is empty, and so its vectors have no dimension yet; add to it first")
            sized = models.VectorParams(size=now.dimension, distance=models.Distance.DOT)
            self.client.create_collection(self.name, vectors_config=sized, metadata={"model": now.model, "identity": now.identity})
        elif self.metadata["identity"] != now.identity:
            raise ModelMismatchError(f"Qdrant's {self.name!r} holds vectors of {self.model!r}, not of {now.model!r}; choose another name")
        held = {id: payload["hash"] for id, payload in self._scrolled(["hash"])}
        new = changed = same = 0
        for block in tables.read_blocks(collection.table, "", ("body",)) if now.rows else ():
            points = []
            for document, vector in zip(block.documents, block.body.tolist(), strict=True):
                point = _point(document.id)
                was = held.pop(point, None)
                new, changed, same = new + (was is None), changed + (was not in (None, document.hash)), same + (was == document.hash)
                if was != document.hash:
                    points.append(models.PointStruct(id=point, vector=vector, payload=_payload(document)))
            for start in range(0, len(points), _POINTS):
                self.client.upsert(self.name, points[start : start + _POINTS], wait=True)
        gone = list(held)
        for start in range(0, len(gone), _POINTS):
            self.client.delete(self.name, models.PointIdsList(points=gone[start : start + _POINTS]), wait=True)
        return Copied(new, changed, same, len(gone))

    def search(
        self, queries: Sequence[str], model: Embedder, k: int = 10, where: Filter = EVERYTHING, *, exact: bool = False
    ) -> list[list[Hit]]:
        """The ``k`` nearest documents of each query, best first. Raises ModelMismatchError for another model than the collection's."""
        held = self.metadata
        if model.identity != held["identity"]:
            asked = f"{model.model!r} ({model.identity[:12]})"
            raise ModelMismatchError(f"Qdrant's {self.name!r} holds vectors of {held['model']!r} ({held['identity'][:12]}), not of {asked}")
        return self.search_vectors(model.encode(list(queries), side="queries"), k, where, exact=exact)

    def search_vectors(self, queries: torch.Tensor, k: int = 10, where: Filter = EVERYTHING, *, exact: bool = False) -> list[list[Hit]]:
        """The ``k`` nearest documents of each of (N, d) query vectors. ``exact``: not by Qdrant's graph but by all vectors."""
        models = need("qdrant_client.models", "qdrant", _FOR)
        if k < 1:
            raise ParameterError("search", "k", "a whole number above 0", k)
        refuse_bad_vectors(queries, "query")
        size = self.client.get_collection(self.name).config.params.vectors.size
        if queries.shape[1] != size:
            raise ModelMismatchError(f"Qdrant's {self.name!r} holds vectors of {size} dimensions, the query has {queries.shape[1]}")
        how = models.SearchParams(exact=True) if exact else None
        asked = {"query_filter": filter_of(where), "search_params": how, "limit": k, "with_payload": True}
        answers = [self.client.query_points(self.name, query=query, **asked).points for query in queries.float().tolist()]
        return [[Hit.of(_document(point.payload), float(point.score)) for point in points] for points in answers]

    def _scrolled(self, fields: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        after = None
        while True:
            points, after = self.client.scroll(self.name, limit=4096, offset=after, with_payload=fields)
            yield from ((str(point.id), point.payload) for point in points)
            if after is None:
                return


def filter_of(where: Filter) -> Any:
    """Our filter as Qdrant's; None where everything counts."""
    models = need("qdrant_client.models", "qdrant", _FOR)

    def has(key: str, value: str) -> Any:
        return models.FieldCondition(key=key, match=models.MatchValue(value=value))

    def votes(least: int) -> Any:
        return models.FieldCondition(key="votes", range=models.Range(gte=least))

    def these(ids: Sequence[str]) -> Any:
        return models.HasIdCondition(has_id=[_point(id) for id in ids])

    must = [has("tags", tag) for tag in where.tags]
    must += [has("facets", facet(name, value)) for name, value in where.fields.items()]
    if where.author:
        must.append(has("authors", where.author))
    if where.after or where.before:
        first, last = (None if day is None else day.toordinal() for day in (where.after, where.before))
        must.append(models.FieldCondition(key="day", range=models.Range(gte=first, lte=last)))
    if where.min_votes > 0:
        enough = [votes(where.min_votes)]
        enough += [models.Filter(must=[votes(lacking), these(ids)]) for lacking, ids in where.lacking().items()]
        must.append(models.Filter(should=enough))
    without = [these(where.without)] if where.without else None
    return models.Filter(must=must or None, must_not=without) if must or without else None


def _point(id: str) -> str:
    return str(uuid.uuid5(_SPACE, id))


def _payload(document: Document) -> dict[str, Any]:
    day = None if document.date is None else document.date.toordinal()
    held = {name: getattr(document, name) for name in ("id", "text", "title", "url", "votes", "hash")}
    lists = {"authors": list(document.authors), "tags": list(document.tags), "facets": facets_of(document.metadata)}
    return {**held, **lists, "metadata": dict(document.metadata), "day": day}


def _document(payload: dict[str, Any] | None) -> Document:
    try:
        held = dict(payload or {})
        date = None if held["day"] is None else datetime.date.fromordinal(held["day"])
        plain = {name: held[name] for name in ("id", "text", "metadata", "title", "url", "votes")}
        return Document(**plain, date=date, authors=tuple(held["authors"]), tags=tuple(held["tags"]))
    except KeyError as error:
        raise DataError("a point in Qdrant was not written by dipole", value=str(error), remedy="copy the collection again") from None
