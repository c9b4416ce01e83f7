"""Lists without a query: the newest, the most voted, what is trending.

trending   votes / (age in days + 2) ^ 1.5       votes that came lately weigh more
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

import numpy as np

from dipole.core.errors import UnknownNameError
from dipole.search import table as tables

ORDERS = ("newest", "votes", "trending", "stored")
GRAVITY = 1.5
_UNDATED = -(10**6)
_START = datetime.date(1970, 1, 1)


@dataclass(frozen=True, eq=False)
class Listing:
    """The small columns of a table in memory: (N,) row ids, days since 1970 (the earliest day where there is none), votes."""

    rows: np.ndarray[Any, Any]
    days: np.ndarray[Any, Any]
    votes: np.ndarray[Any, Any]

    @staticmethod
    def of(table: Any) -> Listing:
        """Read from the table, 24 bytes a row."""
        rows, days, votes = [], [], []
        for batch in tables.scan(table, "", ["date", "votes"], row_ids=True):
            rows.append(batch.column("_rowid").to_numpy().astype(np.int64))
            days.append(batch.column("date").cast("int32").fill_null(_UNDATED).to_numpy().astype(np.int64))
            votes.append(batch.column("votes").to_numpy())
        empty = np.zeros(0, np.int64)
        return Listing(*(np.concatenate([empty, *column]) for column in (rows, days, votes)))

    def calendar(self) -> list[tuple[datetime.date, int]]:
        """The days that have documents, earliest first, and how many each has."""
        days, counts = np.unique(self.days[self.days != _UNDATED], return_counts=True)
        return [(_START + datetime.timedelta(days=int(day)), int(count)) for day, count in zip(days, counts, strict=True)]

    def ordered(
        self, order: str, today: datetime.date, among: np.ndarray[Any, Any] | None = None, more_votes: dict[int, int] | None = None
    ) -> np.ndarray[Any, Any]:
        """Row ids in the order asked. ``among``: only these. ``more_votes``: row id -> votes that were cast meanwhile."""
        if order not in ORDERS:
            raise UnknownNameError("order", order, ORDERS)
        kept = np.ones(len(self.rows), bool) if among is None else np.isin(self.rows, among)
        rows, days, votes = self.rows[kept], self.days[kept], self.votes[kept].astype(np.float64)
        if more_votes:
            votes = votes + np.array([more_votes.get(int(row), 0) for row in rows], np.float64)
        age = np.maximum((today - _START).days - days, 0)
        keys = {
            "newest": (-votes, -days),
            "votes": (-days, -votes),
            "trending": (-days, -votes / (age + 2.0) ** GRAVITY),
            "stored": (np.arange(len(rows)),),
        }[order]
        return rows[np.lexsort(keys)]
