"""What of a text is shown in a list: a piece of it with the nearest sentence and the asked words marked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from dipole.search.documents import Document

Span = tuple[int, int]

_TITLE, _MADE = 300, 90  # characters of a title, and of one made from a text
_WORD = re.compile(r"\w+(?:['\u2019]\w+)?")
_END = re.compile(r"[.!?\u2026\u3002\uff01\uff1f]+[)\]\"'\u201d\u2019]*\s+|\n\s*\n|(?<=[\u3002\uff01\uff1f])")
_SHORTENED = re.compile(r"(?:\b(?:e\.g|i\.e|cf|vs|al|etc|Fig|Figs|Eq|Eqs|Sec|Tab|No|Dr|Prof|St|Mr|Mrs|resp|approx)|\b[A-Z])\.\s+$")
_SUFFIXES = ("ations", "ation", "ingly", "ings", "edly", "ing", "ies", "ied", "ed", "es", "ly", "s")
_COMMON = (
    "a about all also an and any are as at be been but by can could did do does for from had has have how i if in into is it its "
    "may more most my no nor not of on one or our out over so some such than that the their them then there these they this "
    "those to too up very was we were what when where which while who whom whose why will with would you your"
)
COMMON = frozenset(_COMMON.split())


@dataclass(frozen=True)
class Piece:
    """A run of text; ``kind``: ``near`` in the nearest sentence, ``word`` a word that was asked for, both, or neither."""

    text: str
    kind: str = ""


def sentences(text: str, most: int = 40) -> list[Span]:
    """Where the first sentences of a text begin and end.

    >>> [text[a:b] for text in ["Nets, e.g. Smith et al. (2020), learn. They do! OK"] for a, b in sentences(text)]
    ['Nets, e.g. Smith et al. (2020), learn.', 'They do!', 'OK']
    """
    found: list[Span] = []
    start = 0
    for end in [*(m.end() for m in _END.finditer(text)), len(text)]:
        if end < len(text) and _SHORTENED.search(text, start, end):
            continue
        said = text[start:end]
        if said.strip():
            found.append((start + len(said) - len(said.lstrip()), start + len(said.rstrip())))
        start = end
        if len(found) == most:
            break
    return found


def stem(word: str) -> str:
    """A word without its ending, roughly, so that what is marked is about what a search by words finds.

    >>> [stem(w) for w in ("Queries", "query", "learning", "learned", "his", "models'")]
    ['quer', 'quer', 'learn', 'learn', 'his', 'model']
    """
    said = word.lower().split("'")[0].split("\u2019")[0]
    for suffix in _SUFFIXES:
        if said.endswith(suffix) and len(said) - len(suffix) >= 3:
            said = said[: -len(suffix)]
            break
    return said[:-1] if len(said) > 3 and said[-1] in "ey" else said


def stems(query: str) -> frozenset[str]:
    """The stems of a query's words, of those that say something."""
    return frozenset(stem(word) for word in _WORD.findall(query) if word.lower() not in COMMON)


def marked(text: str, asked: frozenset[str], near: Span | None = None, length: int = 0) -> list[Piece]:
    """The text in pieces; with ``length`` at most about as many characters, around the nearest sentence or the asked words.

    >>> marked("One. Two learned nets. Three.", stems("learning"), (5, 22))
    [Piece(text='One. ', kind=''), Piece(text='Two ', kind='near'), Piece(text='learned', kind='near word'), \
Piece(text=' nets.', kind='near'), Piece(text=' Three.', kind='')]
    """
    words = [m.span() for m in _WORD.finditer(text) if stem(m[0]) in asked] if asked else []
    start, end = _window(text, words, near, length) if length else (0, len(text))
    cuts = sorted({start, end, *(min(max(edge, start), end) for span in [*words, *([near] if near else [])] for edge in span)})
    pieces = [Piece("… ")] if start else []
    for a, b in pairwise(cuts):
        kinds = ("near" if near and near[0] <= a < near[1] else "", "word" if any(w[0] <= a < w[1] for w in words) else "")
        pieces.append(Piece(text[a:b], " ".join(filter(None, kinds))))
    return [*pieces, Piece(" …")] if end < len(text.rstrip()) else pieces


def cut(text: str, most: int) -> str:
    """One line of about so many characters at most, cut between words where there are any.

    >>> cut("a title of several words", 12), cut("short", 12), cut("onewordalone", 6)
    ('a title of …', 'short', 'onewor …')
    """
    said = " ".join(text.split())
    return said if len(said) <= most else said[:most].rsplit(" ", 1)[0] + " …"


def title_of(document: Document) -> str:
    """Its title, or its first words; one that is longer than a title is cut."""
    return cut(document.title, _TITLE) or cut(document.text.strip().split("\n")[0], _MADE)


def titled_by_all(document: Document) -> bool:
    """Whether all of its text stands for its title, so that there is nothing more to show."""
    return not document.title.strip() and title_of(document) == " ".join(document.text.split())


def _window(text: str, words: Sequence[Span], near: Span | None, length: int) -> Span:
    """Which part to show: from the beginning if that has what matters, else from the sentence that does."""
    if len(text) <= length * 1.15:
        return 0, len(text)
    begins = [a for a, _ in sentences(text)] or [0]
    if near:
        start = 0 if near[1] <= length else near[0]
    elif words:
        start = max(begins, key=lambda begin: (len({stem(text[a:b]) for a, b in words if begin <= a and b <= begin + length}), -begin))
    else:
        start = 0
    end = min(len(text), start + length)
    if end < len(text) and (space := text.rfind(" ", start + length // 2, end)) > 0:
        end = space
    return start, end
