"""What there is to choose from in a collection: its days, tags and fields; looked up once for each version of it."""

from __future__ import annotations

import bisect
import datetime
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import islice

from dipole.search import table as tables
from dipole.search.collection import Collection

_ROWS = 200_000  # of a large collection, this many are asked for their tags and fields
_FIELDS, _VALUES, _LONGEST = 5, 25, 40
_TAGS = 200


@dataclass(frozen=True)
class Survey:
    """``days``: those with documents, earliest first, and how many; ``tags`` and ``fields``: the most frequent first.

    A field is shown where at least two documents share a value and it has at most 25 different ones.
    """

    days: tuple[tuple[datetime.date, int], ...] = ()
    tags: tuple[tuple[str, int], ...] = ()
    fields: tuple[tuple[str, tuple[tuple[str, int], ...]], ...] = ()
    voted: bool = False

    @staticmethod
    def of(collection: Collection) -> Survey:
        """Read a collection."""
        if not len(collection):
            return Survey()
        tags: Counter[str] = Counter()
        fields: dict[str, Counter[str]] = defaultdict(Counter)
        batches = tables.scan(collection.table, "", ["tags", "facets"])
        for batch in islice(batches, max(1, _ROWS // tables.READ_ROWS)):
            tags.update(tag for row in batch.column("tags").to_pylist() for tag in row)
            for facet in (facet for row in batch.column("facets").to_pylist() for facet in row):
                name, _, value = facet.partition("=")
                if len(fields[name]) <= _VALUES:
                    fields[name][value] += 1
        listing = collection.listing
        return Survey(tuple(listing.calendar()), tuple(tags.most_common(_TAGS)), _chosen(fields), bool(listing.votes.any()))

    @property
    def field_words(self) -> frozenset[str]:
        """Every ``name=value`` that is offered."""
        return frozenset(f"{name}={value}" for name, values in self.fields for value, _ in values)

    def beside(self, day: datetime.date) -> tuple[datetime.date | None, datetime.date | None]:
        """The nearest days with documents before and after a day."""
        days = [date for date, _ in self.days]
        before, after = bisect.bisect_left(days, day), bisect.bisect_right(days, day)
        return (days[before - 1] if before else None), (days[after] if after < len(days) else None)


class Surveys:
    """The survey of each collection, for its newest version."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, tuple[tuple[str, int], Survey]] = {}

    def of(self, name: str, collection: Collection) -> Survey:
        """The survey of the collection of this name."""
        version = (collection.manifest.made, collection.manifest.number)
        with self._lock:
            held = self._held.get(name)
            if held is None or held[0] != version:
                held = self._held[name] = (version, Survey.of(collection))
            return held[1]


def _chosen(fields: dict[str, Counter[str]]) -> tuple[tuple[str, tuple[tuple[str, int], ...]], ...]:
    kept = [
        (name, tuple(sorted(values.items(), key=lambda one: (-one[1], one[0]))))
        for name, values in fields.items()
        if 2 <= len(values) <= _VALUES and max(values.values()) > 1 and max(map(len, values)) <= _LONGEST
    ]
    return tuple(sorted(kept, key=lambda one: -sum(count for _, count in one[1]))[:_FIELDS])
