"""Documents as they are shown: in a list, as one of several near-duplicates, on a page of their own."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from dipole.core.addresses import web_address
from dipole.search.documents import Document, Hit
from dipole.search.filters import facets_of
from dipole.serve.page.excerpt import Piece, Span, marked, title_of, titled_by_all
from dipole.serve.page.view import View

SIZE = 20  # documents on a page of a list
NOTHING: frozenset[str] = frozenset()
_LENGTH = 420  # characters of a text in a list


@dataclass(frozen=True)
class Row:
    """A document and what the page says of it. ``score`` only in answers, ``copies``: its near-duplicates among them."""

    document: Document
    votes: int
    marks: frozenset[str] = NOTHING
    title_pieces: Sequence[Piece] = ()
    pieces: Sequence[Piece] = ()
    score: float | None = None
    how: str = ""
    copies: Sequence[Row] = ()

    @property
    def id(self) -> str:
        return self.document.id

    @property
    def title(self) -> str:
        return title_of(self.document)

    @property
    def whole_title(self) -> str:
        """Its title where that is too long for a heading."""
        said = " ".join(self.document.title.split())
        return said if said and said != self.title else ""

    @property
    def date(self) -> datetime.date | None:
        return self.document.date

    @property
    def authors(self) -> tuple[str, ...]:
        return self.document.authors

    @property
    def shown_authors(self) -> tuple[str, ...]:
        """Three at most; of more, the first two."""
        return self.authors if len(self.authors) <= 3 else self.authors[:2]

    @property
    def tags(self) -> tuple[str, ...]:
        return self.document.tags

    @property
    def number_of_authors(self) -> int:
        """How many wrote it: those named, or as many as a listing page said."""
        said = self.document.metadata.get("number_of_authors", 0)
        return len(self.authors) or (said if isinstance(said, int) and said > 0 else 0)

    @property
    def url(self) -> str:
        """Its address where that is one of the web."""
        return web_address(self.document.url)

    @property
    def unsafe_url(self) -> str:
        """Its address where it is none to follow."""
        return "" if self.url else self.document.url

    @property
    def host(self) -> str:
        return (urlsplit(self.url).hostname or "").removeprefix("www.")

    @property
    def code(self) -> bool:
        """Whether the text is a program's, whose lines count."""
        return self.id.endswith(".py")

    @property
    def paragraphs(self) -> list[str]:
        return [part.strip("\n") for part in re.split(r"\n\s*\n", self.document.text) if part.strip()]

    @property
    def metadata(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """Name -> values, each with the filter that finds others of it, empty where there is none."""
        rest = {name: value for name, value in self.document.metadata.items() if name != "number_of_authors"}
        return [(name, _values(name, value)) for name, value in rest.items()]


def rows_of(
    view: View,
    documents: Sequence[Document],
    asked: frozenset[str] = NOTHING,
    near: Mapping[str, Span] | None = None,
    scores: Mapping[str, float] | None = None,
    how: str = "",
) -> list[Row]:
    """Rows of documents: with their votes, the visitor's marks, and the words asked for and sentences near marked."""
    marks = view.desk.state.marks(view.visitor, view.name, [d.id for d in documents])
    return [
        Row(
            document,
            document.votes + view.votes.get(document.id, 0),
            marks.get(document.id, NOTHING),
            marked(title_of(document), asked),
            () if titled_by_all(document) else marked(document.text, asked, (near or {}).get(document.id), _LENGTH),
            (scores or {}).get(document.id),
            how,
        )
        for document in documents
    ]


def grouped(view: View, hits: Sequence[Hit], rows: Sequence[Row]) -> list[Row]:
    """Rows with near-duplicates behind the best of them."""
    by_id = {row.id: row for row in rows}
    found = []
    for first, *others in view.collection.grouped(hits):
        row = by_id[first.id]
        found.append(Row(**{**vars(row), "copies": [by_id[one.id] for one in others]}))
    return found


@dataclass(frozen=True)
class Pager:
    """Where the pages before and after are; empty where there is none. ``of`` 0: nobody counted."""

    page: int = 1
    of: int = 0
    before: str = ""
    after: str = ""


def pager(view: View, page: int, more: bool, of: int = 0) -> Pager:
    """The pager of this request's page."""
    kept = [(name, value) for name, value in view.request.query_params.multi_items() if name not in ("page", "quick")]

    def at(number: int) -> str:
        asked = urlencode([*kept, *([("page", number)] if number > 1 else [])])
        return view.request.url.path + (f"?{asked}" if asked else "")

    return Pager(page, of, at(min(page - 1, of or page)) if page > 1 else "", at(page + 1) if more else "")


def _values(name: str, value: Any) -> list[tuple[str, str]]:
    found = []
    for one in value if isinstance(value, (list, tuple)) else (value,):
        facet = next(iter(facets_of({name: one})), "")
        found.append((facet.partition("=")[2] if facet else str(one), facet))
    return found
