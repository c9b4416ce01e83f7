"""BibTeX, by pybtex. The text is the abstract, or the title where there is none; the id is the citation key."""

from __future__ import annotations

import datetime
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dipole.core.extras import need
from dipole.search.documents import Document
from dipole.search.sources.refused import Found, Refused

_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december")
_TAKEN = ("title", "abstract", "url", "doi", "keywords", "year", "month", "day", "date")


def read(path: Path) -> Found:
    """One document an entry; an entry that does not parse is refused, the others are read."""
    parse = need("pybtex.database", "ingest", "BibTeX").parse_string
    text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    starts = [m.start() for m in re.finditer(r"^[ \t]*@\s*\w+\s*[{(]", text, re.MULTILINE)] + [len(text)]
    macros = ""
    for start, stop in itertools.pairwise(starts):
        entry, line = text[start:stop], text.count("\n", 0, start) + 1
        kind = entry.lstrip()[1:].split("{", 1)[0].split("(", 1)[0].strip().lower()
        if kind == "string":
            macros += entry
        if kind in ("string", "comment", "preamble"):
            continue
        if any("\udc80" <= letter <= "\udcff" for letter in entry):
            yield Refused(f"{path}:{line}", "the entry's bytes are not UTF-8; convert the file: iconv -f latin1 -t utf-8")
            continue
        try:
            found = _parsed(parse, entry, macros)
        except Exception as error:  # pybtex raises several kinds, none with a common root that it documents
            yield Refused(f"{path}:{line}", f"the entry is not valid BibTeX: {' '.join(str(error).split())}")
            continue
        if not found:
            yield Refused(f"{path}:{line}", "the entry is not valid BibTeX: it has no closing brace or no key")
        for key, one in found.items():
            yield _document(str(key), one, f"{path}:{line}")


def _parsed(parse: Callable[..., Any], entry: str, macros: str) -> Any:
    """The entries of a piece of a file. An abbreviation that nobody has defined, as of a journal, stands for itself."""
    while True:
        try:
            return parse(macros + entry, "bibtex").entries
        except Exception as error:
            unknown = re.search(r"undefined string .*: ([^\s{}\"]+)$", str(error))
            own = "" if unknown is None else f'@string{{{unknown[1]} = "{unknown[1]}"}}\n'
            if not own or own in macros:
                raise
            macros += own


def _document(key: str, entry: Any, place: str) -> Document | Refused:
    fields = {name.lower(): _plain(value) for name, value in entry.fields.items()}
    title, text = fields.get("title", ""), fields.get("abstract", "") or fields.get("title", "")
    if not text:
        return Refused(place, f"the entry {key!r} has neither a title nor an abstract")
    authors = tuple(name for one in entry.persons.get("author", ()) if (name := _plain(_ordered(one))) not in ("", "others"))
    url = fields.get("url") or (f"https://doi.org/{fields['doi']}" if fields.get("doi") else "")
    tags = tuple(word.strip() for word in re.split(r"[;,]", fields.get("keywords", "")) if word.strip())
    rest = {name: value for name, value in fields.items() if name not in _TAKEN} | {"type": entry.type}
    if fields.get("year", "").isdigit():
        rest["year"] = int(fields["year"])
    return Document(key, text, rest, title, authors, _date(fields), url, 0, tags)


def _ordered(person: Any) -> str:
    return " ".join([*person.first_names, *person.middle_names, *person.prelast_names, *person.last_names, *person.lineage_names])


def _plain(text: str) -> str:
    """Without braces and LaTeX commands."""
    rich = need("pybtex.richtext", "ingest", "BibTeX")
    try:
        text = str(rich.Text.from_latex(re.sub(r"(?<!\\)%", r"\%", text)))  # a per cent sign begins no comment in a field
    except Exception:  # unbalanced braces and the like stay as they are
        text = re.sub(r"[{}]", "", text)
    return re.sub(r"\s+", " ", text).strip()


def _date(fields: dict[str, str]) -> datetime.date | None:
    if fields.get("date"):
        try:
            return datetime.date.fromisoformat(fields["date"][:10])
        except ValueError:
            pass
    if not re.fullmatch(r"[12]\d{3}", fields.get("year", "")):
        return None
    month = fields.get("month", "").lower()
    number = next((i for i, name in enumerate(_MONTHS, 1) if month[:3] == name[:3] and month), int(month) if month.isdigit() else 1)
    day = int(fields["day"]) if fields.get("day", "").isdigit() else 1
    try:
        return datetime.date(int(fields["year"]), number, day)
    except ValueError:
        return datetime.date(int(fields["year"]), 1, 1)
