"""Search, "more like this", and one document: what is nearest to a sentence, or to another document."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import Response

from dipole.core.errors import UsageError
from dipole.search.documents import Document, Hit
from dipole.search.filters import Filter, parse_fields
from dipole.serve.page.errors import PageRoute
from dipole.serve.page.excerpt import Span, stems
from dipole.serve.page.rendering import day
from dipole.serve.page.rows import SIZE, Row, grouped, pager, rows_of
from dipole.serve.page.view import Asked, View

router = APIRouter(include_in_schema=False, route_class=PageRoute)
_SIMILAR = 8
_DEEPEST = 10  # pages of answers
_CHOICES = 12  # tags offered
AnswerPage = Annotated[int, Query(ge=1, le=_DEEPEST)]


@dataclass(frozen=True)
class Narrowed:
    """What the filters of a page say, as texts, to show them again."""

    after: str = ""
    before: str = ""
    tags: tuple[str, ...] = ()
    author: str = ""
    fields: tuple[str, ...] = ()
    min_votes: int = 0

    @property
    def any(self) -> bool:
        """Whether anything narrows."""
        return self != Narrowed()

    @property
    def where(self) -> Filter:
        """As a filter. Raises UsageError with what is wrong, in words."""
        days = []
        for name, said in (("From", self.after), ("Until", self.before)):
            try:
                days.append(datetime.date.fromisoformat(said) if said else None)
            except ValueError:
                raise UsageError(f"{name}: a day is written like 2026-11-25, not {said[:40]!r}.") from None
        first, last = days
        if first and last and first > last:
            raise UsageError(f"From {day(first)} until {day(last)} is no time at all: the first must not be after the second.")
        return Filter(first, last, self.tags, self.author.strip(), self.min_votes, parse_fields(self.fields))


def narrowed(
    after: str = "",
    before: str = "",
    tag: Annotated[list[str] | None, Query(max_length=20)] = None,
    author: Annotated[str, Query(max_length=300)] = "",
    field: Annotated[list[str] | None, Query(max_length=20)] = None,
    min_votes: str = "",
) -> Narrowed:
    """The filters of a request; an empty field of a form is none."""
    votes = int(min_votes) if min_votes.isascii() and min_votes.isdigit() and len(min_votes) < 10 else 0
    return Narrowed(after, before, tuple(filter(None, tag or ())), author, tuple(f for f in field or () if "=" in f), votes)


@router.get("/find")
def find(
    view: Asked,
    asked: Annotated[Narrowed, Depends(narrowed)],
    q: str = "",
    how: Literal["meaning", "words", "hybrid"] = "meaning",
    page: AnswerPage = 1,
    quick: bool = False,
) -> Response:
    """Answers to a sentence. ``quick`` leaves out what takes longest, the nearest sentences: for while somebody types."""
    q = " ".join(q.split())
    wrong, where, found, more = "", Filter(), list[Row](), False
    try:
        if len(q) > view.longest:
            raise UsageError(f"A query has at most {view.longest:,} characters; this one has {len(q):,}.")
        where = dataclasses.replace(asked.where, more_votes=view.votes if asked.min_votes else {})
    except UsageError as error:
        wrong, q = str(error), q[: view.longest]
    if q and not wrong and view.size:
        found, more = _answers(view, q, how, where, page, quick)
    elif asked.any and not wrong and view.size:
        found = rows_of(view, view.collection.browse("newest", SIZE + 1, (page - 1) * SIZE, where, more_votes=view.votes))
        found, more = found[:SIZE], len(found) > SIZE
    heading = q or ("Filtered" if asked.any else "Search")
    told = _told(view, q, found, page, how, where) if not wrong else ""
    tags = [*((one, 0) for one in asked.tags if one not in dict(view.survey.tags[:_CHOICES])), *view.survey.tags[:_CHOICES]]
    context = {"heading": heading, "q": q, "how": how, "asked": asked, "found": found, "told": told, "wrong": wrong, "tag_choices": tags}
    pages = pager(view, page, more and page < _DEEPEST)
    return view.page("find.html.jinja", 400 if wrong else 200, tab="find", pager=pages, empty=_empty(view, q, asked, how), **context)


@router.get("/like")
def like(view: Asked, id: str, page: AnswerPage = 1) -> Response:
    """The documents nearest to one."""
    document = _document(view, id)
    hits = view.collection.similar(id, page * SIZE + 1)
    shown, more = hits[(page - 1) * SIZE : page * SIZE], len(hits) > page * SIZE
    near = {} if page > 1 else view.desk.sentences.near(view.held, document.text[:2000], [h.document for h in shown]) if view.held else {}
    rows = _rows(view, shown, frozenset(), near, "meaning")
    return view.page(
        "like.html.jinja", tab="", source=rows_of(view, [document])[0], found=rows, pager=pager(view, page, more and page < _DEEPEST)
    )


@router.get("/item")
def item_by_query(view: Asked, id: str) -> Response:
    """A document whose id does not go into a path."""
    return item(view, id)


@router.get("/item/{id:path}")
def item(view: Asked, id: str) -> Response:
    """A document with all its fields, and what is similar."""
    document = _document(view, id)
    hits = view.collection.similar(id, _SIMILAR)
    similar = rows_of(view, [hit.document for hit in hits], scores={hit.id: hit.score for hit in hits}, how="meaning")
    return view.page("item.html.jinja", tab="", row=rows_of(view, [document])[0], similar=similar)


def _answers(
    view: View, q: str, how: Literal["meaning", "words", "hybrid"], where: Filter, page: int, quick: bool
) -> tuple[list[Row], bool]:
    assert view.held is not None
    hits = view.held.search(q, page * SIZE + 1, where, how)
    shown, more = hits[(page - 1) * SIZE : page * SIZE], len(hits) > page * SIZE
    near = {} if quick or how == "words" else view.desk.sentences.near(view.held, q, [hit.document for hit in shown])
    return _rows(view, shown, stems(q) if how != "meaning" else frozenset(), near, how), more


def _rows(view: View, hits: list[Hit], words: frozenset[str], near: Mapping[str, Span], how: str) -> list[Row]:
    rows = rows_of(view, [hit.document for hit in hits], words, near, {hit.id: hit.score for hit in hits}, how)
    return grouped(view, hits, rows)


def _document(view: View, id: str) -> Document:
    found = view.collection.get([id])
    if not found:
        raise HTTPException(404, "No document of this name is in the collection; it may have been taken out.")
    return found[0]


def _told(view: View, q: str, found: list[Row], page: int, how: str, where: Filter) -> str:
    if not found:
        return ""
    among = view.collection.count(where)
    part = f"of {among:,} that pass the filters" if among < view.size else f"of {view.size:,}"
    if not q:
        return f"{among:,} {'document passes' if among == 1 else 'documents pass'} the filters, the latest first."
    kind = {"meaning": "nearest in meaning", "words": "best by words", "hybrid": "best by meaning and words together"}[how]
    shown = sum(1 + len(row.copies) for row in found)
    start = (page - 1) * SIZE
    return f"The {kind}, {start + 1} to {start + shown} {part}." if page > 1 else f"The {shown:,} {kind}, {part}."


def _empty(view: View, q: str, asked: Narrowed, how: str) -> str:
    if not view.size:
        return "This collection is empty, so nothing can be found in it yet."
    if not q and not asked.any:
        return "Ask in a sentence, as you would ask a person: “how do queues of negatives go stale?”"
    if asked.any:
        return "Nothing passes these filters" + (" and has these words. Take one away." if q and how == "words" else ". Take one away.")
    return (
        "No document has these words. Search by meaning finds what is near without sharing a word." if how == "words" else "Nothing here."
    )
