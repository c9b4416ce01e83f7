"""Templates, the page's own files, and how values read."""

from __future__ import annotations

import datetime
import functools
import hashlib
import mimetypes
import re
from dataclasses import dataclass
from importlib import resources
from typing import Any

from dipole.core.extras import need
from dipole.serve.page.excerpt import cut

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


@dataclass(frozen=True)
class Asset:
    """A file of the page's own: its bytes, its kind, and a mark that changes with them."""

    content: bytes
    kind: str
    mark: str


@functools.cache
def assets() -> dict[str, Asset]:
    """All files under ``static/``, read once; nothing else can be asked for."""
    found = {}
    for entry in resources.files("dipole.serve.page").joinpath("static").iterdir():
        content = entry.read_bytes()
        kind = mimetypes.guess_type(entry.name)[0] or "application/octet-stream"
        found[entry.name] = Asset(content, kind, hashlib.sha256(content).hexdigest()[:12])
    return found


@functools.cache
def environment() -> Any:
    """The templates: everything that is put in is escaped, and a name that is not there is an error."""
    jinja = need("jinja2", "serve", "the page")
    folder = resources.files("dipole.serve.page").joinpath("templates")
    made = jinja.Environment(
        loader=jinja.FileSystemLoader(str(folder)), autoescape=True, undefined=jinja.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    how_values_read: dict[str, Any] = {"day": day, "short_day": short_day, "weekday": weekday, "number": number, "brief": brief}
    made.filters.update({**how_values_read, "collapse": collapse, "sentence": sentence, "xml": without_control, "cut": cut})
    return made


def day(date: datetime.date) -> str:
    """A day as people write it.

    >>> day(datetime.date(2026, 11, 5))
    '5 Nov 2026'
    """
    return f"{date.day} {date:%b} {date.year}"


def today() -> datetime.date:
    """The day it is, by UTC."""
    return datetime.datetime.now(datetime.UTC).date()


def short_day(date: datetime.date, now: datetime.date | None = None) -> str:
    """A day of these weeks; of another year than that of ``now`` (today), with its year.

    >>> short_day(datetime.date(2026, 11, 5), datetime.date(2026, 12, 1)), short_day(datetime.date(2026, 12, 31), datetime.date(2027, 1, 1))
    ('Thu, 5 Nov', 'Thu, 31 Dec 2026')
    """
    return f"{date:%a}, {date.day} {date:%b}" + (f" {date.year}" if date.year != (now or today()).year else "")


def weekday(date: datetime.date) -> str:
    """A day with its name.

    >>> weekday(datetime.date(2026, 11, 5))
    'Thursday, 5 November 2026'
    """
    return f"{date:%A}, {date.day} {date:%B} {date.year}"


def sentence(text: str) -> str:
    """With a capital in front, whatever comes after it.

    >>> sentence("a GPU of arXiv")
    'A GPU of arXiv'
    """
    return text[:1].upper() + text[1:]


def number(count: int) -> str:
    """A count with its thousands apart."""
    return f"{count:,}"


def brief(count: int) -> str:
    """A count in at most five characters, for where there is no room for more.

    >>> [brief(n) for n in (7, 9_999, 12_345, 999_999, 12_345_678)]
    ['7', '9,999', '12.3k', '999k', '12.3M']
    """
    if count < 10_000:
        return number(count)
    size, letter = (1_000, "k") if count < 1_000_000 else (1_000_000, "M")
    return (f"{count // (size // 10) / 10:.1f}" if count < 100 * size else f"{count // size:,}") + letter


def collapse(text: str) -> str:
    """One line."""
    return " ".join(text.split())


def without_control(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return _CONTROL.sub("", text)
