"""Nearly equal rows without comparing all pairs: MinHash of character 5-grams, banded, every candidate checked exactly.

Similarity is the Jaccard index |A & B| / |A | B| of the sets of 5-grams (of normal forms, those of another role apart). MinHash values
make b bands of r: two rows become candidates where a band agrees, which happens with probability 1 - (1 - J^r)^b. b and r follow from
the threshold so that a pair exactly at it is found with 99.6% or more (21 bands of 6 at 0.8: 99.8%), and pairs above it more surely.
Candidates are then compared exactly, so nothing below the threshold is reported. Rows whose numbers differ (sizes, years, versions)
are not called alike.
Source: Broder 1997 (MinHash); Indyk & Motwani 1998 (bands).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

GRAM = 5
SHAPES = ((0.8, 21, 6), (0.65, 31, 4), (0.5, 42, 3))  # from this threshold on: bands, MinHash values of each
_VALUES = max(count * size for _, count, size in SHAPES)
_U32: Any = np.uint32
_ROLES = {"anchor": 0, "positive": 0x9E3779B1, "negative": 0x85EBCA77}
_NUMBERS = re.compile(r"\d+")
_ALL_PAIRS = 50  # rows of a bucket up to which all its pairs are candidates
_dice = np.random.Generator(np.random.PCG64(20241))
_MULTIPLY = _dice.integers(0, 2**32, _VALUES, dtype=np.uint32) | _U32(1)
_ADD = _dice.integers(0, 2**32, _VALUES, dtype=np.uint32)
_MIX = _dice.integers(0, 2**32, 8, dtype=np.uint32) | _U32(1)

Texts = Sequence[tuple[str, str]]  # (role, normal form)


def numbers_of(texts: Texts) -> str:
    """All digits of a row, in order: rows are alike only where these are equal."""
    return " ".join(_NUMBERS.findall(" ".join(text for _, text in texts)))


def grams(rows: Sequence[Texts]) -> tuple[Any, Any]:
    """Hashes of the 5-grams of rows, uint32, one row after the other, and where each row starts (with a last entry for the end).

    A text shorter than 5 characters is one gram. Every row must hold a text.
    """
    texts = [text for row in rows for _, text in row]
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    joined = ("\0" * GRAM).join(texts) + "\0" * GRAM
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    hashed = np.zeros(len(codes) - GRAM + 1, dtype=np.uint32)
    for place in range(GRAM):
        hashed *= _U32(0x01000193)
        hashed += codes[place : place + len(hashed)]
    counts = np.maximum(lengths - GRAM + 1, 1)
    first = np.concatenate([[0], np.cumsum(lengths + GRAM)[:-1]])
    ends = np.cumsum(counts)
    at = np.arange(ends[-1]) + np.repeat(first - (ends - counts), counts)
    salt = np.fromiter((_ROLES[role] for row in rows for role, _ in row), dtype=np.uint32, count=len(texts))
    values = _mixed(hashed[at] ^ np.repeat(salt, counts))
    per_row = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    last = np.cumsum(per_row)
    return values, np.concatenate([[0], ends[last - 1]])


def shape_for(threshold: float) -> tuple[int, int]:
    """(bands, values of each) for a threshold of at least 0.5."""
    return next((count, size) for least, count, size in SHAPES if threshold >= least)


def bands(values: Any, starts: Any, shape: tuple[int, int]) -> Any:
    """(rows, bands) uint32: one key a band, equal where all its MinHash values are."""
    count, size = shape
    found = np.empty((count, len(starts) - 1), dtype=np.uint32)
    for band in range(count):
        mixed = np.zeros(len(starts) - 1, dtype=np.uint32)
        for row in range(size):
            number = band * size + row
            least = np.minimum.reduceat(values * _MULTIPLY[number] + _ADD[number], starts[:-1])
            mixed = (mixed ^ least) * _MIX[row]
            mixed ^= mixed >> _U32(15)
        found[band] = mixed
    return found.T


def jaccard(first: Any, second: Any) -> float:
    """Of two sorted arrays without repetition."""
    both = len(np.intersect1d(first, second, assume_unique=True))
    return both / (len(first) + len(second) - both)


def candidates(keys: Any, alike: Any) -> tuple[Any, bool]:
    """(pairs, 2) row places that share a band, each once, the earlier first; and whether buckets were too full to pair all.

    ``keys`` (N, bands). ``alike`` (N,): rows with different values are no candidates. In a bucket of more than 50 rows, each is paired
    with the first and with the four before it.
    """
    n = len(keys)
    found = np.empty(0, dtype=np.int64)
    capped = False
    for key in keys.T:
        order = np.lexsort((np.arange(n), alike, key))
        same = (key[order][1:] == key[order][:-1]) & (alike[order][1:] == alike[order][:-1])
        pairs = []
        for start, stop in _runs(same):
            members = order[start:stop]
            if len(members) <= _ALL_PAIRS:
                left, right = np.triu_indices(len(members), 1)
                pairs.append(members[left] * n + members[right])
            else:
                capped = True
                for back in (1, 2, 3, 4):
                    pairs.append(members[:-back] * n + members[back:])
                pairs.append(members[0] * n + members[1:])
        if pairs:
            found = np.union1d(found, np.concatenate(pairs))
    return np.stack([found // n, found % n], 1) if n else np.empty((0, 2), dtype=np.int64), capped


def _runs(same: Any) -> Iterator[tuple[int, int]]:
    """(start, stop) of each run of at least two equal neighbours."""
    edges = np.diff(np.concatenate([[0], same.astype(np.int8), [0]]))
    for start, stop in zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True):
        yield start, stop + 1


def _mixed(x: Any) -> Any:
    """Murmur's last step: spreads a weak hash over all 32 bits."""
    x = (x ^ (x >> _U32(16))) * _U32(0x85EBCA6B)
    x = (x ^ (x >> _U32(13))) * _U32(0xC2B2AE35)
    return x ^ (x >> _U32(16))
