"""What a collection is made of, and what it answers with."""

from __future__ import annotations

import datetime
import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from dipole.core.errors import DataError, short

_MOST_VOTES = 2**53  # beyond, sums of votes would no longer be exact


@dataclass(frozen=True)
class Document:
    """A text, its id (unique in a collection) and what else is known of it.

    ``date`` the day it appeared; ``votes`` a whole number of at least 0; ``metadata`` whatever else, as JSON can hold it.
    """

    id: str
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    title: str = ""
    authors: tuple[str, ...] = ()
    date: datetime.date | None = None
    url: str = ""
    votes: int = 0
    tags: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        """sha256 of everything but the id: equal content, equal hash."""
        content = [self.text, self.title, self.authors, self.date, self.url, self.votes, self.tags, self.metadata]
        return hashlib.sha256(json.dumps(content, default=str, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Hit:
    """A document found: its score against what was asked, higher is nearer."""

    id: str
    score: float
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    title: str = ""
    authors: tuple[str, ...] = ()
    date: datetime.date | None = None
    url: str = ""
    votes: int = 0
    tags: tuple[str, ...] = ()

    @staticmethod
    def of(document: Document, score: float) -> Hit:
        """The document as an answer."""
        return Hit(score=score, **{name: getattr(document, name) for name in _FIELDS})

    @property
    def document(self) -> Document:
        """What was found, without its score."""
        return Document(**{name: getattr(self, name) for name in _FIELDS})


_FIELDS = ("id", "text", "metadata", "title", "authors", "date", "url", "votes", "tags")


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


class TokenEmbedder(Embedder, Protocol):
    """An embedder that also gives the vectors of a text's tokens, for late interaction."""

    def encode_tokens(self, items: Sequence[str], batch_size: int = 32, side: str = "") -> list[torch.Tensor]:
        """One (L, d) float32 tensor of unit vectors a text, on the CPU."""
        ...


def documents_of(rows: Iterable[Mapping[str, Any]], path: str | Path = "", first: int = 0, skipped: int = 0) -> Iterator[Document]:
    """Rows as documents: ``anchor`` is the text, ``id`` the id; title, authors, date, url, votes and tags are what they
    say, everything else is metadata.

    A row without an id is called by its number, counted from ``first``. ``path`` is named in errors, ``skipped`` rows came
    before these. Raises DataError with the row's number where a text is missing or empty, or a field is not of its type.
    """
    for number, row in enumerate(rows, skipped):
        text = row.get("anchor")
        if not isinstance(text, str) or not text.strip():
            remedy = "take the row out, or name another column with --text"
            raise DataError(f"row {number + 1} needs a text to be found by", path=path or None, value=text, remedy=remedy)
        id = str(first + number) if row.get("id") is None else str(row["id"])
        try:
            yield document_of(id, text, {str(name): value for name, value in row.items() if name not in ("anchor", "id")})
        except ValueError as error:
            raise DataError(f"row {number + 1}: {error}", path=path or None) from None


def document_of(id: str, text: str, fields: Mapping[str, Any]) -> Document:
    """A document from loosely typed fields: authors and tags may be lists (of texts, or of tables with a ``name`` or ``term``) or texts
    split at ``;`` (tags also at ``,``), a date is ISO (2026-11-25, a time after it is dropped); NaN stands for nothing.

    Raises ValueError where one cannot be read, and for half a surrogate pair in a text, which is no character.
    """
    try:
        rest = {str(name): kept for name, value in fields.items() if (kept := _storable(value)) is not None}
        title, url = (_line(rest.pop(name, None)) for name in ("title", "url"))
        authors, tags = _words(rest.pop("authors", None), ";"), _words(rest.pop("tags", None), ";,")
        date, votes = _date(rest.pop("date", None)), _votes(rest.pop("votes", None))
        made = Document(id, text, rest, title, authors, date, url, votes, tags)
        f"{id}{made.hash}".encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"half a surrogate pair is no character, got {error.object[error.start : error.end]!r}") from None
    except RecursionError:
        raise ValueError("a field is nested too deep") from None
    return made


def _storable(value: Any) -> Any:
    """A value as the JSON of the metadata can hold it; dates and what has no form there stay, and become texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(name): _storable(one) for name, one in value.items()}
    return [_storable(one) for one in value] if isinstance(value, (list, tuple)) else value


def _line(value: Any) -> str:
    return " ".join(str(one) for one in (value if isinstance(value, (list, tuple)) else (value,)) if one is not None)


def _words(value: Any, separators: str) -> tuple[str, ...]:
    if isinstance(value, str):
        for separator in separators[1:]:
            value = value.replace(separator, separators[0])
        value = value.split(separators[0])
    several = value if isinstance(value, (list, tuple)) else () if value is None else (value,)
    named = [one.get("name") or one.get("term") if isinstance(one, Mapping) else one for one in several]
    if any(name is None for name, one in zip(named, several, strict=True) if one is not None):
        raise ValueError(f"authors and tags must be texts, got {short(value)}")
    return tuple(word for word in (str(one).strip() for one in named if one is not None) if word)


def _date(value: Any) -> datetime.date | None:
    if isinstance(value, datetime.datetime):
        return value.date()
    if isinstance(value, datetime.date):
        return value
    said = "" if value is None else str(value).strip()
    if not said:
        return None
    day, time = said[:10], said[10:]
    try:
        if time[:1] not in ("", "T", "t", " ", "Z", "+", "-"):
            raise ValueError
        return datetime.date.fromisoformat(day)
    except ValueError:
        raise ValueError(f"date must be ISO, for example 2026-11-25, got {short(value)}") from None


def _votes(value: Any) -> int:
    try:
        said = value.strip() if isinstance(value, str) else value
        votes = int(float(said)) if isinstance(said, float) or (isinstance(said, str) and "." in said) else int(said or 0)
        if not 0 <= votes <= _MOST_VOTES or votes != float(said or 0):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"votes must be a whole number of at least 0, got {short(value)}") from None
    return votes


def refuse_bad_vectors(vectors: torch.Tensor, what: str, first: int = 0, remedy: str = "") -> None:
    """Raise DataError with the row's number (from ``first``, counted from 0) where a vector is not finite or is zero."""
    if vectors.dim() != 2:
        raise DataError(f"{what}: vectors must be (N, d)", value=tuple(vectors.shape))
    lengths = torch.linalg.vector_norm(vectors, dim=1)
    if bool(((lengths > 0) & lengths.isfinite()).all()):  # one pass; whatever is not plain is looked at closely
        return
    finite = vectors.isfinite().all(dim=1)
    if not bool(finite.all()):
        row = int((~finite).nonzero()[0])
        raise DataError(f"{what}: row {first + row} holds NaN or infinity, which no score can be computed from", remedy=remedy)
    zero = (vectors == 0).all(dim=1)
    if bool(zero.any()):
        row = int(zero.nonzero()[0])
        raise DataError(f"{what}: row {first + row} is the zero vector, which is equally near to everything", remedy=remedy)
