"""Several data sets as one, numbered one after the other."""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain

from dipole.core.protocols import Row, Rows


class Joined:
    """Row i of all data sets. ``fingerprint`` changes when any of them, or their order, does."""

    def __init__(self, sources: Sequence[Rows]) -> None:
        self.sources = tuple(sources)
        self.lengths = tuple(len(source) for source in self.sources)
        self.ends = list(accumulate(self.lengths))

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, index: int) -> Row:
        number = bisect.bisect_right(self.ends, index)
        return self.sources[number][index - (self.ends[number - 1] if number else 0)]

    def __iter__(self) -> Iterator[Row]:
        return chain.from_iterable(self.sources)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256("\n".join(source.fingerprint for source in self.sources).encode()).hexdigest()
