"""Which documents count: by day, tag, author, votes and fields of the metadata.

>>> Filter(tags=("vision",), after=datetime.date(2026, 1, 1)).sql()
"date >= DATE '2026-01-01' AND array_has(tags, 'vision')"
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dipole.core.errors import UsageError

Value = str | int | float | bool


@dataclass(frozen=True)
class Filter:
    """All that is given must hold. ``after`` and ``before`` are days, both included; ``tags`` all of them; ``fields``
    top-level values of the metadata; ``without`` ids that do not count; ``more_votes``: id -> votes cast since the collection was
    written, which count together with its own.

    >>> Filter(min_votes=5, more_votes={"a": 2, "b": 7, "c": 2}).sql()
    "(votes >= 5 OR (votes >= 3 AND id IN ('a', 'c')) OR (votes >= 0 AND id IN ('b')))"
    """

    after: datetime.date | None = None
    before: datetime.date | None = None
    tags: tuple[str, ...] = ()
    author: str = ""
    min_votes: int = 0
    fields: Mapping[str, Value] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    more_votes: Mapping[str, int] = field(default_factory=dict)

    def sql(self) -> str:
        """The filter as the condition LanceDB takes; empty where everything counts."""
        said = []
        if self.after is not None:
            said.append(f"date >= DATE '{self.after.isoformat()}'")
        if self.before is not None:
            said.append(f"date <= DATE '{self.before.isoformat()}'")
        said += [f"array_has(tags, {quoted(tag)})" for tag in self.tags]
        if self.author:
            said.append(f"array_has(authors, {quoted(self.author)})")
        if self.min_votes > 0:
            said.append(self._enough_votes())
        said += [f"array_has(facets, {quoted(facet(name, value))})" for name, value in self.fields.items()]
        if self.without:
            said.append(f"id NOT IN ({', '.join(map(quoted, self.without))})")
        return " AND ".join(said)

    def lacking(self) -> dict[int, list[str]]:
        """Ids that were given votes meanwhile, by the votes of its own that each needs besides."""
        found: dict[int, list[str]] = {}
        for id, votes in self.more_votes.items():
            if votes > 0:
                found.setdefault(max(0, self.min_votes - votes), []).append(id)
        return found

    def _enough_votes(self) -> str:
        own = f"votes >= {int(self.min_votes)}"
        more = [f"(votes >= {votes} AND id IN ({', '.join(map(quoted, ids))}))" for votes, ids in self.lacking().items()]
        return f"({' OR '.join([own, *more])})" if more else own


def facet(name: str, value: Value) -> str:
    """A field of the metadata and its value as one word, which is what the collection stores to filter by.

    A number and its text are the same word, since CSV knows no numbers.
    """
    return f"{name}={value if isinstance(value, str) else json.dumps(value)}"


def facets_of(metadata: Mapping[str, object]) -> list[str]:
    """The facets of a document: its texts of at most 200 characters, numbers and truth values, and those in lists."""
    found = []
    for name, value in metadata.items():
        for one in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(one, (int, float, bool)) or (isinstance(one, str) and len(one) <= 200):
                found.append(facet(str(name), one))
    return found


def parse_fields(settings: Sequence[str]) -> dict[str, Value]:
    """``name=value`` as on a command line.

    >>> parse_fields(["year=2024", "venue=ACL"])
    {'year': '2024', 'venue': 'ACL'}
    """
    found: dict[str, Value] = {}
    for setting in settings:
        name, equals, raw = setting.partition("=")
        if not equals or not name:
            raise UsageError(f"--field {setting}: write name=value, for example venue=ACL")
        found[name] = raw
    return found


def quoted(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"
