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
    top-level values of the metadata; ``without`` ids that do not count.
    """

    after: datetime.date | None = None
    before: datetime.date | None = None
    tags: tuple[str, ...] = ()
    author: str = ""
    min_votes: int = 0
    fields: Mapping[str, Value] = field(default_factory=dict)
    without: tuple[str, ...] = ()

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
            said.append(f"votes >= {int(self.min_votes)}")
        said += [f"array_has(facets, {quoted(facet(name, value))})" for name, value in self.fields.items()]
        if self.without:
            said.append(f"id NOT IN ({', '.join(map(quoted, self.without))})")
        return " AND ".join(said)


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
