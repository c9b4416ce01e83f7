"""A listing page of papers, saved as plain text, in the two layouts that occur.

    blank-line separated, with author and date lines           alternating lines

    A title                                                     A title
                                                                Its abstract in one line.
    Its abstract, over as many                                  Another title
    lines as it takes.                                          Its abstract.

    5 authors · Nov 20, 2026 · 12 votes

The facts about a paper (number of authors, date, votes) may stand in one line or several, behind the abstract or between
title and abstract; which of the two it is, the page's first paper tells.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dipole.search.documents import Document
from dipole.search.sources.names import content_id
from dipole.search.sources.refused import Found, Refused

_AUTHORS = re.compile(r"(\d{1,9})\s+authors?", re.IGNORECASE)
_VOTES = re.compile(r"(?:up)?votes?:?\s*(\d{1,9})|[▲△⬆👍]\s*(\d{1,9})|(\d{1,9})\s*(?:up)?(?:votes?|points?|likes?|stars?)", re.IGNORECASE)
_DATES = ("%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d %B %Y", "%Y-%m-%d", "%Y/%m/%d", "%b %d %Y", "%B %d %Y")
_DATED = re.compile(r"(?:published|submitted|posted|updated|date)?(?:\s+on)?:?\s*(.+)", re.IGNORECASE)
_BETWEEN = re.compile(r"\s*[·•|\u2013\u2014]\s*|\s{3,}|\t")


@dataclass
class _Facts:
    """What a line says of a paper besides its title and abstract."""

    authors: int | None = None
    date: datetime.date | None = None
    votes: int | None = None

    def __bool__(self) -> bool:
        return (self.authors, self.date, self.votes) != (None, None, None)


@dataclass
class _Paper:
    line: int
    texts: list[str] = field(default_factory=list)
    facts: _Facts = field(default_factory=_Facts)


def facts_of(line: str) -> _Facts:
    """The facts of a line that holds nothing else; empty where it is a text.

    >>> facts_of("5 authors · Nov 20, 2026 · 12 votes")
    _Facts(authors=5, date=datetime.date(2026, 11, 20), votes=12)
    >>> bool(facts_of("5 authors walk into a bar"))
    False
    """
    found = _Facts()
    for piece in (p for p in _BETWEEN.split(line.strip()) if p):
        if m := _AUTHORS.fullmatch(piece):
            found.authors = int(m[1])
        elif m := _VOTES.fullmatch(piece):
            found.votes = int(next(g for g in m.groups() if g))
        elif (day := _day(piece)) is not None:
            found.date = day
        else:
            return _Facts()
    return found


def looks_like_one(text: str) -> bool:
    """Whether a plain text has lines of facts about papers: at least two, and not dates alone, which diaries have too."""
    found = [facts for line in text.splitlines() if line.strip() and (facts := facts_of(line))]
    return len(found) >= 2 and any((facts.authors, facts.votes) != (None, None) for facts in found)


def read(path: Path) -> Found:
    """One document a paper."""
    try:
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        yield Refused(str(path), f"the bytes are not UTF-8 from byte {error.start} on; convert it: iconv -f latin1 -t utf-8")
        return
    numbered = [(number, line.strip()) for number, line in enumerate(lines, 1)]
    if any(facts_of(line) for _, line in numbered if line):
        yield from (_document(path, paper) for paper in _with_facts(numbered))
    else:
        yield from _alternating(path, [(n, line) for n, line in numbered if line])


def _with_facts(numbered: list[tuple[int, str]]) -> Iterator[_Paper]:
    """Papers of a page with facts. Runs of text and runs of facts take turns."""
    runs: list[tuple[bool, list[tuple[int, str]]]] = []
    for number, line in numbered:
        if not line:
            continue
        is_facts = bool(facts_of(line))
        if not runs or runs[-1][0] != is_facts:
            runs.append((is_facts, []))
        runs[-1][1].append((number, line))
    between = not runs[0][0] and len(runs[0][1]) == 1  # the first paper's facts stand between title and abstract
    paper: _Paper | None = None
    for place, (is_facts, run) in enumerate(runs):
        if is_facts:
            if paper is not None:
                for _, line in run:
                    _merge(paper.facts, facts_of(line))
            continue
        last = place >= len(runs) - 1 or (between and place == len(runs) - 1)
        if between and paper is not None:
            own, following = (run, []) if last else (run[:-1], run[-1:])
            paper.texts += [line for _, line in own]
            run = following
        if run:
            if paper is not None:
                yield paper
            paper = _Paper(run[0][0], [line for _, line in run])
    if paper is not None:
        yield paper


def _alternating(path: Path, lines: list[tuple[int, str]]) -> Found:
    if len(lines) % 2:
        number = lines[-1][0] if lines else 1
        yield Refused(
            f"{path}:{number}",
            "a listing without facts must alternate title and abstract, one line each; the number of lines is odd"
            if lines
            else "the file holds no text",
        )
        return
    for (number, title), (_, abstract) in zip(lines[::2], lines[1::2], strict=True):
        yield _document(path, _Paper(number, [title, abstract]))


def _document(path: Path, paper: _Paper) -> Document | Refused:
    title, abstract = paper.texts[0], " ".join(paper.texts[1:])
    if not abstract:
        return Refused(f"{path}:{paper.line}", f"the paper {title[:60]!r} has no abstract")
    about = {} if paper.facts.authors is None else {"number_of_authors": paper.facts.authors}
    return Document(content_id(title), abstract, about, title, (), paper.facts.date, "", paper.facts.votes or 0)


def _merge(into: _Facts, more: _Facts) -> None:
    for name in ("authors", "date", "votes"):
        if getattr(more, name) is not None:
            setattr(into, name, getattr(more, name))


def _day(text: str) -> datetime.date | None:
    said = _DATED.fullmatch(text.strip())
    for form in _DATES if said else ():
        try:
            return datetime.datetime.strptime(said[1].strip(), form).date()  # type: ignore[index]
        except ValueError:
            continue
    return None
