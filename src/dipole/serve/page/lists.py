"""Lists without a query: a day, a week, trending, newest, and what a visitor saved and read."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import RedirectResponse, Response

from dipole.search.documents import Document
from dipole.search.filters import Filter
from dipole.serve.page.errors import PageRoute
from dipole.serve.page.rendering import day, today, weekday
from dipole.serve.page.rows import SIZE, Pager, Row, pager, rows_of
from dipole.serve.page.view import Asked, View

router = APIRouter(include_in_schema=False, route_class=PageRoute)
Page = Annotated[int, Query(ge=1, le=5000)]
_ENOUGH = 8  # documents that a home page shows at least, of however many days
_MOST_DAYS = 14


@dataclass(frozen=True)
class Group:
    """Rows under a title; none where all rows are of one kind."""

    rows: Sequence[Row]
    title: str = ""
    about: str = ""
    link: str = ""


@dataclass(frozen=True)
class Step:
    """Where the arrows beside a heading lead."""

    label: str
    before: str = ""
    before_label: str = ""
    after: str = ""
    after_label: str = ""


@router.get("/")
def home(view: Asked) -> Response:
    """The newest day, and days before it until there is enough to look at; trending where documents have no days."""
    days = view.survey.days
    if not days:
        return _undated(view)
    until, counts = today(), dict(days)
    shown = [(date, count) for date, count in days if date <= until] or [days[-1]]
    chosen: list[datetime.date] = []
    total = 0
    for date, count in reversed(shown[-_MOST_DAYS:]):
        if total >= _ENOUGH:
            break
        chosen.append(date)
        total += count
    groups = []
    for date in chosen:
        held = _of(view, Filter(after=date, before=date), "votes", SIZE, 0)
        about = _papers(counts[date]) if counts[date] <= SIZE else f"the first {SIZE} of {counts[date]:,}"
        groups.append(Group(rows_of(view, held), weekday(date) if len(chosen) > 1 else "", about, view.link(f"/day/{date.isoformat()}")))
    last = chosen[0]
    heading = "Today" if last == until else weekday(last)
    when = f"{weekday(last)}: " if last == until else ""
    about = f"{when}{_papers(counts[last])}, the most voted first" if len(chosen) == 1 else "The latest days, the most voted first"
    if len(chosen) > 1:
        heading = "Latest"
    after = Pager(1, 0, "", view.link(f"/day/{last.isoformat()}", page=2)) if len(chosen) == 1 and counts[last] > SIZE else Pager()
    return _list(view, "day", heading, groups, about=about, step=_day_step(view, chosen[-1], last), pager=after, day=last)


@router.get("/day")
def go_to_day(view: Asked, on: str = "") -> Response:
    """From the form with a date to the day's own address."""
    return RedirectResponse(view.link(f"/day/{_day(on).isoformat()}"), 303)


@router.get("/day/{date}")
def one_day(view: Asked, date: str, page: Page = 1) -> Response:
    """All documents of a day, the most voted first."""
    date_ = _day(date)
    where = Filter(after=date_, before=date_)
    count = dict(view.survey.days).get(date_, 0)
    held = _of(view, where, "votes", SIZE, (page - 1) * SIZE) if count else []
    before, after = view.survey.beside(date_)
    near = " and ".join(day(one) for one in (before, after) if one)
    empty = f"Nothing on this day. The nearest days with documents: {near}." if near else "Documents here have no dates."
    about = f"{_papers(count)}, the most voted first" if count else ""
    pages = pager(view, page, page * SIZE < count, -(-count // SIZE))
    return _list(
        view,
        "day",
        weekday(date_),
        [Group(rows_of(view, held))],
        about=about,
        step=_day_step(view, date_, date_),
        pager=pages,
        day=date_,
        empty=empty,
    )


@router.get("/week")
def this_week(view: Asked) -> Response:
    """The newest week."""
    days = [date for date, _ in view.survey.days if date <= today()] or [date for date, _ in view.survey.days]
    return one_week(view, _week_name(days[-1] if days else today()))


@router.get("/week/{week}")
def one_week(view: Asked, week: str, page: Page = 1) -> Response:
    """All documents of a week (2026-W48), the most voted first."""
    try:
        first = datetime.date.fromisoformat(f"{week}-1")
        last = first + datetime.timedelta(days=6)
    except (ValueError, OverflowError):
        raise HTTPException(404, "A week is written like 2026-W48.") from None
    count = sum(number for date, number in view.survey.days if first <= date <= last)
    held = _of(view, Filter(after=first, before=last), "votes", SIZE, (page - 1) * SIZE) if count else []
    before, after = view.survey.beside(first)[0], view.survey.beside(last)[1]
    step = _step("Weeks", before, after, lambda date: view.link(f"/week/{_week_name(date)}"), lambda date: f"The week of {day(date)}")
    about = f"{day(first)} to {day(last)}" + (f", {_papers(count)}, the most voted first" if count else "")
    iso = first.isocalendar()
    pages = pager(view, page, page * SIZE < count, -(-count // SIZE))
    return _list(
        view,
        "week",
        f"Week {iso.week} of {iso.year}",
        [Group(rows_of(view, held))],
        about=about,
        step=step,
        pager=pages,
        empty="Nothing in this week.",
    )


@router.get("/trending")
def trending(view: Asked, page: Page = 1) -> Response:
    """Votes of the page and of the collection together, those for newer documents weighing more."""
    return _plain(view, "trending", "Trending", "Votes, with those for newer documents weighing more", "trending", page)


@router.get("/newest")
def newest(view: Asked, page: Page = 1) -> Response:
    """Everything, the latest first."""
    return _plain(view, "newest", "Newest", "Everything, the latest first", "newest", page)


@router.get("/saved")
def saved(view: Asked, page: Page = 1) -> Response:
    """What the visitor saved."""
    return _own(view, "saved", "save", "Saved", "Nothing saved yet. “Save” under a document, or the key s, keeps it here.", page)


@router.get("/read")
def read(view: Asked, page: Page = 1) -> Response:
    """What the visitor has read."""
    return _own(view, "read", "read", "Read", "Nothing marked as read yet. “Mark read” under a document, or the key r, puts it here.", page)


def _undated(view: View) -> Response:
    """A home page for documents without days: by votes where there are any, else as they were stored."""
    if view.survey.voted or view.votes:
        return _plain(view, "trending", "Most voted", _papers(view.size), "votes", 1, path="/by-votes")
    return _plain(view, "all", "All documents", _papers(view.size), "stored", 1, path="/all")


@router.get("/all")
def everything(view: Asked, page: Page = 1) -> Response:
    """As stored."""
    return _plain(view, "all", "All documents", _papers(view.size), "stored", page)


@router.get("/by-votes")
def by_votes(view: Asked, page: Page = 1) -> Response:
    """The most voted first."""
    return _plain(view, "trending", "Most voted", _papers(view.size), "votes", page)


def _plain(view: View, tab: str, heading: str, about: str, order: str, page: int, path: str = "") -> Response:
    held = _of(view, Filter(), order, SIZE, (page - 1) * SIZE)
    pages = pager(view, page, page * SIZE < view.size, -(-view.size // SIZE))
    if path and pages.after:
        pages = Pager(1, pages.of, "", view.link(path, page=2))
    return _list(view, tab, heading, [Group(rows_of(view, held))], about=about if view.size else "", pager=pages)


def _own(view: View, tab: str, kind: str, heading: str, empty: str, page: int) -> Response:
    ids = view.desk.state.marked(view.visitor, view.name, kind)
    held = view.collection.get(ids[(page - 1) * SIZE : page * SIZE])
    about = f"{_papers(len(ids))}, the latest first" if ids else ""
    pages = pager(view, page, page * SIZE < len(ids), -(-len(ids) // SIZE))
    return _list(view, tab, heading, [Group(rows_of(view, held))], about=about, pager=pages, empty=empty)


def _list(view: View, tab: str, heading: str, groups: Sequence[Group], **rest: Any) -> Response:
    given = {"about": "", "step": None, "pager": Pager(), "day": None, "empty": "", **rest}
    if not view.size:
        given["empty"] = "This collection is empty. dipole ingest FOLDER FILE... puts documents into it; the page takes them up by itself."
    elif not given["empty"]:
        given["empty"] = "Nothing on this page."
    return view.page("list.html.jinja", tab=tab, heading=heading, groups=groups, **given)


def _of(view: View, where: Filter, order: str, limit: int, offset: int) -> list[Document]:
    return view.collection.browse(order, limit, offset, where, more_votes=view.votes)


def _day_step(view: View, first: datetime.date, last: datetime.date) -> Step:
    before, after = view.survey.beside(first)[0], view.survey.beside(last)[1]
    return _step("Days", before, after, lambda date: view.link(f"/day/{date.isoformat()}"), weekday)


def _step(
    label: str,
    before: datetime.date | None,
    after: datetime.date | None,
    link: Callable[[datetime.date], str],
    said: Callable[[datetime.date], str],
) -> Step:
    """``before`` and ``after``: where the arrows lead; None: nowhere."""
    return Step(label, *(text for one in (before, after) for text in ((link(one), said(one)) if one else ("", ""))))


def _day(date: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(date)
    except ValueError:
        raise HTTPException(404, "A day is written like 2026-11-25.") from None


def _week_name(date: datetime.date) -> str:
    iso = date.isocalendar()
    return f"{iso.year}-W{iso.week:02d}"


def _papers(count: int) -> str:
    return f"{count:,} {'document' if count == 1 else 'documents'}"
