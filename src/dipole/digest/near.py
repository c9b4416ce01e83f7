"""Near enough to be worth a mail: a threshold from the query's own background, with a false-alarm share that can be stated.

    b_1 >= b_2 >= ... >= b_n      cosines of the query with the n documents that were there before
    threshold  = b_k,  k = floor(share * (n + 1))      a new document is near when its cosine is above that, not equal to it

A new document that has no more to do with the query than those that were there before, one drawn as they were, is above the threshold
with a probability of at most k / (n + 1) <= share: each of the n + 1 ranks is equally likely (a conformal test; Vovk et al. 2005,
ch. 2). Cosines of different queries and models differ in level and spread; this assumes nothing about either. Two things to know:

* The background may itself hold answers, which raises the threshold: the share is an upper bound, and a query that a tenth of the
  collection answers gets the nearest of them, not all.
* For a fixed background the share varies around its mean as Beta(k, n + 1 - k) does, by k^(-1/2) of itself. So k is at least 5 where
  5 are no more than a tenth of the background, and else that tenth, at least 1: a collection of a few hundred documents or less passes
  more than was asked for. The share that holds is returned, and stated in the mail.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dipole.core.errors import ParameterError
from dipole.search import nearest
from dipole.search import table as tables
from dipole.search.collection import Collection
from dipole.search.filters import quoted

_LEAST, _WIDEST = 5, 0.1  # the k that makes a threshold firm, and the share up to which it is sought
_QUERIES = 64  # compared at once
_NAMES = 1000  # ids in one condition


@dataclass(frozen=True)
class Near:
    """A new document above the threshold. ``beyond``: the share of the background, itself counted, that is as near or nearer."""

    id: str
    score: float
    beyond: float


@dataclass(frozen=True)
class Found:
    """What is near to one query, best first; the cosine it took, how many documents set it, and the share of false alarms of that."""

    near: list[Near]
    threshold: float
    background: int
    share: float


def near_new(collection: Collection, queries: torch.Tensor, new: Sequence[set[str]], share: float) -> list[Found]:
    """For each of (Q, d) query vectors, which of its new documents are near; all other documents are its background.

    Exact: every vector is read once for 64 queries. Without any background everything new is near, and the share is 1.
    """
    if not 0 < share < 1:
        raise ParameterError("digest", "share", "above 0 and below 1", share)
    rows = _rows(collection, set().union(*new))
    found: list[Found] = []
    for start in range(0, len(queries), _QUERIES):
        mine = [{rows[id]: id for id in ids if id in rows} for ids in new[start : start + _QUERIES]]
        wide = max((_rank(len(collection) - len(ids), share) + len(ids) for ids in mine), default=0)
        some = queries[start : start + _QUERIES].float()
        rankings = (
            nearest.exactly(collection.folder, collection.table, some, min(wide, len(collection))) if len(collection) else [[]] * len(mine)
        )
        found += [_above(ranking, ids, len(collection) - len(ids), share) for ranking, ids in zip(rankings, mine, strict=True)]
    return found


def _above(ranking: nearest.Ranking, new: dict[int, str], background: int, share: float) -> Found:
    """The ranking holds at least the first k of the background and everything new that is above them."""
    ascending = [-score for score, row in ranking if row not in new]  # negated: bisect wants them ascending
    k = _rank(background, share)
    threshold = -ascending[k - 1] if background else float("-inf")
    near = [
        Near(new[row], score, (1 + bisect.bisect_right(ascending, -score)) / (background + 1))
        for score, row in ranking
        if row in new and score > threshold
    ]
    return Found(near, threshold, background, k / (background + 1) if background else 1.0)


def _rank(background: int, share: float) -> int:
    least = min(_LEAST, int(_WIDEST * (background + 1) + 1e-9))
    return max(1, least, int(share * (background + 1) + 1e-9))


def _rows(collection: Collection, ids: set[str]) -> dict[str, int]:
    """Id -> row id, of those that are there."""
    names = sorted(ids)
    found: dict[str, int] = {}
    for start in range(0, len(names) if len(collection) else 0, _NAMES):
        where = f"id IN ({', '.join(map(quoted, names[start : start + _NAMES]))})"
        for batch in tables.scan(collection.table, where, ["id"], row_ids=True):
            found.update(zip(batch.column("id").to_pylist(), batch.column("_rowid").to_pylist(), strict=True))
    return found
