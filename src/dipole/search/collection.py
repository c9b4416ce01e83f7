"""A collection: texts, fields and vectors in a folder, searched by meaning, by words, by both.

    s(q, x) = q . x        the cosine, where the model normalises (as sentence-transformers folders say they do)

Every vector of a collection comes from one model, whose name and identity (a hash of weights and settings) are stored;
a query by any other model is refused. Without an approximate index the answer is exact: the engine compares the query with
every stored vector, read a block at a time, so memory does not grow with the collection.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dipole.core.errors import DataError, ModelMismatchError, ParameterError, UsageError
from dipole.search import approximate, manifest, nearest
from dipole.search import table as tables
from dipole.search.documents import Document, Embedder, Hit, refuse_bad_vectors
from dipole.search.duplicates import collapse, near_duplicates
from dipole.search.encode import same_model
from dipole.search.filters import Filter, quoted
from dipole.search.listing import Listing
from dipole.search.manifest import Manifest
from dipole.search.places import Place, Remote, local, place_of
from dipole.search.readers import Reader
from dipole.search.table import Block
from dipole.search.write import Changes, append, append_vectors, compact, create, delete, index, rollback, store, upsert

EVERYTHING = Filter()
_CANDIDATES = 5  # of each ranking, k times this many go into a fusion or a reordering


@dataclass(frozen=True)
class Collection:
    """A collection on disk, as it was when opened; later writes by others do not disturb it.

    Open with :meth:`open`; each write gives the collection as it is afterwards, and either happens as a whole or not at all.
    """

    folder: Place
    manifest: Manifest
    _cache: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._cache["reader"] = Reader(self.folder, self.manifest.table)

    def __len__(self) -> int:
        return self.manifest.rows

    @property
    def model(self) -> str:
        """The name of the model whose vectors these are: what ``load_encoder`` takes."""
        return self.manifest.model

    @property
    def local(self) -> Path:
        """The folder, to be written to. Raises UsageError where the collection lies in object storage."""
        return local(self.folder, "write")

    # -- opening and writing -------------------------------------------------------------------------------------------

    @staticmethod
    def open(folder: str | Path | Remote) -> Collection:
        """The collection in ``folder``, maybe in object storage. Raises UsageError where there is none, DataError where it is damaged."""
        found = Collection(place := place_of(folder), manifest.read(place))
        while found._cache["reader"].lost and (newer := manifest.read(place)) != found.manifest:  # compacted twice in between
            found = Collection(place, newer)
        return found

    @staticmethod
    def create(
        folder: str | Path, documents: Iterable[Document], model: Embedder, batch_size: int = 32, vectors: Sequence[str] = ()
    ) -> Collection:
        """A new collection. ``vectors``: what is stored besides the text's: ``title``, ``tokens`` (late interaction).

        Raises UsageError where ``folder`` already is one or holds other files.
        """
        if manifest.exists(local(place_of(folder), "make it")):
            raise UsageError(f"{folder} already is a collection; say append to add to it, rebuild to replace it")
        return Collection.rebuild(folder, documents, model, batch_size, vectors)

    @staticmethod
    def rebuild(
        folder: str | Path, documents: Iterable[Document], model: Embedder, batch_size: int = 32, vectors: Sequence[str] = ()
    ) -> Collection:
        """Replace a collection, or make a new one. The old one answers until the new one is complete."""
        place = local(place_of(folder), "make it")
        return Collection(place, create(place, documents, model, batch_size, vectors))

    @staticmethod
    def store(folder: str | Path, blocks: Iterable[Block], model: str, identity: str = "") -> Collection:
        """Replace a collection, or make a new one, of vectors made elsewhere: ``Block(documents, vectors)``, one or many.

        ``model``: their model's name; ``identity``: its identity where an encoder of dipole made them, which then takes queries as
        text. Without one, :meth:`search_vectors` answers. Raises DataError for vectors that are zero or not finite.
        """
        place = local(place_of(folder), "make it")
        return Collection(place, store(place, blocks, model, identity))

    def append_vectors(self, blocks: Iterable[Block]) -> Collection:
        """The collection with more documents and vectors that its model made elsewhere, which the caller vouches for."""
        return Collection(self.folder, append_vectors(self.local, blocks))

    def append(self, documents: Iterable[Document], model: Embedder, batch_size: int = 32) -> Collection:
        """The collection with more documents; their ids must be new. The model must be the one that made it."""
        return Collection(self.folder, append(self.local, documents, model, batch_size))

    def upsert(self, documents: Iterable[Document], model: Embedder, batch_size: int = 32) -> tuple[Collection, Changes]:
        """Add what is new, replace what changed (same id, other content), leave the rest; only new texts are encoded."""
        made, changes = upsert(self.local, documents, model, batch_size)
        return Collection(self.folder, made), changes

    def delete(self, ids: Sequence[str]) -> Collection:
        """Without the documents of these ids. Raises DataError for an id that is not there; nothing is deleted then."""
        return Collection(self.folder, delete(self.local, ids))

    def index(
        self, kind: str = "ivf-rq", recall: float = 0.95, queries: int | torch.Tensor = 200, told: Callable[[str], None] = lambda text: None
    ) -> tuple[Collection, approximate.Built]:
        """With an approximate index whose recall@10 was measured to be at least ``recall``; ``exact=True`` goes round it.

        ``queries``: (N, d) vectors of what people ask, which say most; or how many to draw.
        """
        if not isinstance(queries, int):
            self._checked(queries, 1)
        made, built = index(self.local, kind, recall, queries, told)
        return Collection(self.folder, made), built

    def compact(self, keep: int = 2) -> Collection:
        """Written anew without its past, indexed anew, and all commits but the last ``keep`` forgotten with their data.

        Whoever has one of them open goes on reading it: its data go with the first write after that. With 1, this one is given up too.
        """
        with self._cache["reader"].giving_up(keep == 1):
            return Collection(self.folder, compact(self.local, keep))

    def history(self) -> list[Manifest]:
        """The commits that can be gone back to, oldest first; the last is what counts."""
        return manifest.history(self.folder)

    def rollback(self, number: int) -> Collection:
        """The collection as it was after commit ``number``; what came later stays in the history."""
        return Collection(self.folder, rollback(self.local, number))

    # -- asking --------------------------------------------------------------------------------------------------------

    def search(
        self, queries: Sequence[str], model: Embedder, k: int = 10, where: Filter = EVERYTHING, *, exact: bool = False
    ) -> list[list[Hit]]:
        """The ``k`` nearest documents of each query, best first; fewer where fewer count.

        Raises ModelMismatchError where ``model`` is not the one that made the collection.
        """
        same_model(self.manifest, model)
        return self.search_vectors(model.encode(list(queries), side="queries"), k, where, exact=exact)

    def search_vectors(self, queries: torch.Tensor, k: int = 10, where: Filter = EVERYTHING, *, exact: bool = False) -> list[list[Hit]]:
        """The ``k`` nearest documents of each of (N, d) query vectors. The caller vouches for their model."""
        self._checked(queries, k)
        return self._hits(self._nearest(queries, k, where, exact))

    def search_words(self, query: str, k: int = 10, where: Filter = EVERYTHING) -> list[Hit]:
        """The ``k`` best by BM25 over title and text."""
        self._checked(None, k)
        return self._hits([nearest.by_words(self.table, query, k, where.sql())])[0] if len(self) else []

    def search_hybrid(self, query: str, model: Embedder, k: int = 10, where: Filter = EVERYTHING, *, exact: bool = False) -> list[Hit]:
        """Meaning and words (and titles, where the collection has their vectors) by reciprocal rank fusion."""
        same_model(self.manifest, model)
        vector = model.encode([query], side="queries")
        self._checked(vector, k)
        if not len(self):
            return []
        wide, condition = k * _CANDIDATES, where.sql()
        rankings = [self._nearest(vector, wide, where, exact)[0], nearest.by_words(self.table, query, wide, condition)]
        if "title" in self.manifest.vectors:
            rankings.append(nearest.exactly(self.folder, self.table, vector.float(), wide, condition, "title_vector")[0])
        return self._hits([nearest.fused(rankings, k)])[0]

    def search_late(self, query: str, model: Any, k: int = 10, where: Filter = EVERYTHING, *, exact: bool = False) -> list[Hit]:
        """The nearest candidates in the order of MaxSim over token vectors. The collection must have ``tokens``."""
        same_model(self.manifest, model)
        if "tokens" not in self.manifest.vectors:
            raise UsageError(f"{self.folder} holds no token vectors; rebuild it with vectors=('tokens',), dipole index --vectors tokens")
        vector = model.encode([query], side="queries")
        self._checked(vector, k)
        if not len(self):
            return []
        candidates = self._nearest(vector, k * _CANDIDATES, where, exact)[0]
        return self._hits([nearest.by_tokens(self.table, model.encode_tokens([query], side="queries")[0], candidates, k)])[0]

    def similar(self, id: str, k: int = 10, where: Filter = EVERYTHING, *, exact: bool = False) -> list[Hit]:
        """More like the document ``id``, itself left out. Raises DataError where it is not there."""
        found = list(tables.read_blocks(self.table, f"id = {quoted(id)}", ("body",))) if len(self) else []
        if not found or not len(found[0].documents):
            raise DataError("no document of this id is in the collection", path=str(self.folder), value=id)
        vector = found[0].body
        hits = self._hits(self._nearest(vector, k + 1, where, exact))[0]
        return [hit for hit in hits if hit.id != id][:k]

    def get(self, ids: Sequence[str]) -> list[Document]:
        """The documents of these ids, in that order; those that are not there are left out."""
        if not len(self) or not ids:
            return []
        where = f"id IN ({', '.join(map(quoted, ids))})"
        found = {row["id"]: tables.document(row) for row in tables.read_columns(self.table, tables.FIELDS, where)}
        return [found[id] for id in ids if id in found]

    def count(self, where: Filter = EVERYTHING) -> int:
        """How many documents meet the filter."""
        return int(self.table.count_rows(where.sql())) if len(self) and where.sql() else len(self)

    def browse(
        self,
        order: str = "newest",
        limit: int = 20,
        offset: int = 0,
        where: Filter = EVERYTHING,
        *,
        today: datetime.date | None = None,
        more_votes: dict[str, int] | None = None,
    ) -> list[Document]:
        """A page of a list: ``newest``, ``votes``, ``trending`` (votes with time decay) or ``stored``.

        ``more_votes``: id -> votes cast since the collection was written, added to its own.
        """
        if not len(self):
            return []
        among, condition = None, where.sql()
        if condition:
            among = np.array([r for b in tables.scan(self.table, condition, ["id"], True) for r in b.column("_rowid").to_pylist()])
        votes: dict[int, int] = {}
        if more_votes:
            named = f"id IN ({', '.join(map(quoted, more_votes))})"
            for batch in tables.scan(self.table, named, ["id"], row_ids=True):
                votes |= {r: more_votes[i] for r, i in zip(batch.column("_rowid").to_pylist(), batch.column("id").to_pylist(), strict=True)}
        rows = self.listing.ordered(order, today or datetime.datetime.now(datetime.UTC).date(), among, votes)
        chosen = [int(row) for row in rows[offset : offset + limit]]
        found = tables.read_documents(self.table, chosen)
        return [found[row] for row in chosen]

    def grouped(self, hits: Sequence[Hit], threshold: float = 0.95) -> list[list[Hit]]:
        """Hits with near-duplicates behind the best of them: cosine of at least ``threshold`` with the first of the group."""
        blocks = tables.read_blocks(self.table, f"id IN ({', '.join(quoted(h.id) for h in hits)})", ("body",)) if hits else ()
        held = {d.id: v for block in blocks for d, v in zip(block.documents, block.body, strict=True)}
        return [[hits[place] for place in group] for group in collapse(torch.stack([held[h.id] for h in hits]), threshold)] if hits else []

    def near_duplicates(self, threshold: float = 0.95) -> list[list[str]]:
        """Groups of ids that nearly coincide, in the whole collection. O(N^2 d) time."""
        return near_duplicates(self.table, threshold) if len(self) else []

    def keep_vectors(self, most: int = 256_000_000) -> bool:
        """For many searches without a filter: vectors in memory, where they take so many bytes and have no index, and documents found."""
        if fits := bool(len(self) and not self.manifest.index and len(self) * self.manifest.dimension * 4 <= most):
            self._cache.update(vectors=list(nearest.checked(self.folder, self.table)), documents={})
        return fits

    @functools.cached_property
    def table(self) -> Any:
        """The LanceDB table at the version that counts, opened once."""
        return tables.opened(self.folder, self.manifest)

    @functools.cached_property
    def listing(self) -> Listing:
        """Days and votes of all rows, read once."""
        return Listing.of(self.table)

    def _checked(self, queries: torch.Tensor | None, k: int) -> None:
        if k < 1:
            raise ParameterError("search", "k", "a whole number above 0", k)
        if queries is None:
            return
        refuse_bad_vectors(queries, "query")
        if len(self) and queries.shape[1] != self.manifest.dimension:
            where = f"{self.folder}: the collection's vectors have {self.manifest.dimension} dimensions"
            raise ModelMismatchError(f"{where}, the query's {queries.shape[1]}; query with {self.manifest.model!r}")

    def _nearest(self, queries: torch.Tensor, k: int, where: Filter, exact: bool) -> list[nearest.Ranking]:
        if not len(self):
            return [[] for _ in queries]
        held, condition = self.manifest.index, where.sql()
        if not condition and "vectors" in self._cache:
            return nearest.among(self._cache["vectors"], queries.float(), k)
        if held and not exact:
            return nearest.indexed(self.folder, self.table, queries.float(), k, condition, held)
        return nearest.exactly(self.folder, self.table, queries.float(), k, condition)

    def _hits(self, rankings: list[nearest.Ranking]) -> list[list[Hit]]:
        rows = [row for ranking in rankings for _, row in ranking]
        found = tables.read_documents(self.table, rows, self._cache.get("documents")) if rows else {}
        return [[Hit.of(found[row], score) for score, row in ranking] for ranking in rankings]
