"""What a collection is made of, and what it answers with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from dipole.core.errors import DataError

TEXT_NAMES = ("text", "body", "content", "passage", "document", "sentence", "code", "answer", "positive", "anchor")
ID_NAMES = ("id", "_id", "doc_id", "docid", "key")


@dataclass(frozen=True)
class Document:
    """A text, its id (unique in a collection) and whatever else is known of it, as JSON can hold it."""

    id: str
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Hit:
    """A document found: its score against the query, higher is nearer."""

    id: str
    score: float
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Embedder(Protocol):
    """What turns texts into vectors, and can prove that it is the one that did so before."""

    model: str

    @property
    def identity(self) -> str:
        """A hash of everything that changes a vector."""
        ...

    def encode(self, items: Sequence[str], batch_size: int = 32, progress: bool = False, side: str = "") -> torch.Tensor:
        """(N, d) float32 on the CPU, in the order given."""
        ...


def documents_of(rows: Iterable[Mapping[str, Any]], text: str = "", id: str = "", first: int = 0) -> Iterator[Document]:
    """Rows of a file as documents; all other columns become metadata.

    ``text``, ``id``: the columns; empty takes the first of ``TEXT_NAMES`` and ``ID_NAMES`` that is there, and the row's
    number (from ``first``) where no id is. Raises DataError with the row's number for a missing column or an empty text.
    """
    for number, row in enumerate(rows):
        text_column = text or next((name for name in TEXT_NAMES if isinstance(row.get(name), str)), "")
        if not text_column or text_column not in row:
            remedy = f"there is: {', '.join(map(str, row))}; name it with --text"
            raise DataError("a row needs a text", line=number + 1, column=text_column or None, remedy=remedy)
        value = row[text_column]
        if not isinstance(value, str) or not value.strip():
            raise DataError("a text must not be empty", line=number + 1, column=text_column, value=value)
        id_column = id or next((name for name in ID_NAMES if name in row), "")
        if id and id not in row:
            raise DataError("no such column", line=number + 1, column=id, remedy=f"there is: {', '.join(map(str, row))}")
        name = str(row[id_column]) if id_column else str(first + number)
        rest = {str(key): value for key, value in row.items() if key not in (text_column, id_column)}
        yield Document(name, value, rest)


def refuse_bad_vectors(vectors: torch.Tensor, what: str, first: int = 0, remedy: str = "") -> None:
    """Raise DataError with the row's number (from ``first``, counted from 0) where a vector is not finite or is zero."""
    if vectors.dim() != 2:
        raise DataError(f"{what}: vectors must be (N, d)", value=tuple(vectors.shape))
    finite = vectors.isfinite().all(dim=1)
    if not bool(finite.all()):
        row = int((~finite).nonzero()[0])
        raise DataError(f"{what}: row {first + row} holds NaN or infinity, which no score can be computed from", remedy=remedy)
    zero = (vectors == 0).all(dim=1)
    if bool(zero.any()):
        row = int(zero.nonzero()[0])
        raise DataError(f"{what}: row {first + row} is the zero vector, which is equally near to everything", remedy=remedy)
