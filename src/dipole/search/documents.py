"""What a collection is made of, and what it answers with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from dipole.core.errors import DataError


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


def documents_of(rows: Iterable[Mapping[str, Any]], path: str | Path = "", first: int = 0) -> Iterator[Document]:
    """Rows as documents: ``anchor`` is the text, ``id`` the id, everything else metadata.

    A row without an id is called by its number, counted from ``first``. ``path`` is named in errors. Raises DataError with
    the row's number where a text is missing or empty.
    """
    for number, row in enumerate(rows):
        text = row.get("anchor")
        if not isinstance(text, str) or not text.strip():
            remedy = "take the row out, or name another column with --text"
            raise DataError(f"row {number + 1} needs a text to be found by", path=path or None, value=text, remedy=remedy)
        id = str(first + number) if row.get("id") is None else str(row["id"])
        yield Document(id, text, {str(name): value for name, value in row.items() if name not in ("anchor", "id")})


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
