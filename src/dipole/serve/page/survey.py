"""What there is to choose from in a collection: its days, tags and fields; looked up once for each version of it."""

from __future__ import annotations

import bisect
import dataclasses
import datetime
import logging
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import islice

from dipole.search import table as tables
from dipole.search.collection import Collection
from dipole.serve.held import Held

log = logging.getLogger("dipole.serve")
_ROWS = 200_000  # of a large collection, this many are asked for their tags and fields
_FIELDS, _VALUES, _LONGEST = 5, 25, 40
_TAGS = 200
_AT_ONCE = 20_000  # documents whose tags and fields are counted while somebody waits


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
        return Survey.of_days(collection).with_choices(collection)

    @staticmethod
    def of_days(collection: Collection) -> Survey:
        """The days alone, which are at hand."""
        return Survey(tuple(collection.listing.calendar()), voted=bool(collection.listing.votes.any())) if len(collection) else Survey()

    def with_choices(self, collection: Collection) -> Survey:
        """With tags and fields, which the table is read for: about a second for 100,000 documents."""
        if not len(collection):
            return self
        tags: Counter[str] = Counter()
        fields: dict[str, Counter[str]] = defaultdict(Counter)
        batches = tables.scan(collection.table, "", ["tags", "facets"])
        for batch in islice(batches, max(1, _ROWS // tables.READ_ROWS)):
            tags.update(tag for row in batch.column("tags").to_pylist() for tag in row)
            for facet in (facet for row in batch.column("facets").to_pylist() for facet in row):
                name, _, value = facet.partition("=")
                if len(fields[name]) <= _VALUES:
                    fields[name][value] += 1
        return dataclasses.replace(self, tags=tuple(tags.most_common(_TAGS)), fields=_chosen(fields))

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
    """The survey of each collection, for its newest version. Of a large one, tags and fields are those of the version before
    until they have been counted again in the background, so that nobody waits for them.
    """

    def __init__(self, at_once: int = _AT_ONCE) -> None:
        self.at_once = at_once
        self._lock = threading.Lock()
        self._held: dict[str, tuple[str, Survey]] = {}

    def of(self, held: Held) -> Survey:
        """The survey of a collection."""
        with self._lock:
            version, known = self._held.get(held.name, ("", Survey()))
            if version == held.version:
                return known
            found = Survey.of_days(held.collection)
            large = len(held.collection) > self.at_once
            found = dataclasses.replace(found, tags=known.tags, fields=known.fields) if large else found.with_choices(held.collection)
            self._held[held.name] = (held.version, found)
        if large:
            threading.Thread(target=self._count, args=(held, found), name="dipole-survey", daemon=True).start()
        return found

    def _count(self, held: Held, days: Survey) -> None:
        try:
            found = days.with_choices(held.collection)
        except Exception:
            log.exception("tags and fields of %s could not be counted", held.name)
            return
        with self._lock:
            if self._held[held.name][0] == held.version:
                self._held[held.name] = (held.version, found)


def _chosen(fields: dict[str, Counter[str]]) -> tuple[tuple[str, tuple[tuple[str, int], ...]], ...]:
    kept = [
        (name, tuple(sorted(values.items(), key=lambda one: (-one[1], one[0]))))
        for name, values in fields.items()
        if 2 <= len(values) <= _VALUES and max(values.values()) > 1 and max(map(len, values)) <= _LONGEST
    ]
    return tuple(sorted(kept, key=lambda one: -sum(count for _, count in one[1]))[:_FIELDS])
