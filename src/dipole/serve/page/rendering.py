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
    how_values_read: dict[str, Any] = {"day": day, "short_day": short_day, "weekday": weekday, "number": number}
    made.filters.update({**how_values_read, "collapse": collapse, "sentence": sentence, "xml": without_control})
    return made


def day(date: datetime.date) -> str:
    """A day as people write it.

    >>> day(datetime.date(2026, 11, 5))
    '5 Nov 2026'
    """
    return f"{date.day} {date:%b} {date.year}"


def short_day(date: datetime.date) -> str:
    """A day of these weeks.

    >>> short_day(datetime.date(2026, 11, 5))
    'Thu, 5 Nov'
    """
    return f"{date:%a}, {date.day} {date:%b}"


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


def collapse(text: str) -> str:
    """One line."""
    return " ".join(text.split())


def without_control(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return _CONTROL.sub("", text)
