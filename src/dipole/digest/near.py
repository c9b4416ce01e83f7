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

    Exact: every vector is read once for 64 queries. Memory: 64 cosines a new document, and 64 k. Without any background
    everything new is near, and the share is 1.
    """
    if not 0 < share < 1:
        raise ParameterError("digest", "share", "above 0 and below 1", share)
    named = _named(collection, set().union(*new))
    return [
        found
        for start in range(0, len(queries), _QUERIES)
        for found in _near(collection, queries[start : start + _QUERIES].float(), new[start : start + _QUERIES], named, share)
    ]


def _near(collection: Collection, queries: torch.Tensor, new: Sequence[set[str]], named: dict[int, str], share: float) -> list[Found]:
    rows = torch.tensor(sorted(named), dtype=torch.int64)
    masks = {id(ids): torch.tensor([named[row] in ids for row in rows.tolist()], dtype=torch.bool) for ids in new}
    mine = torch.stack([masks[id(ids)] for ids in new])  # (Q, M)
    sizes = [len(collection) - int(kept.sum()) for kept in mine]
    wide = max(_rank(n, share) for n in sizes)
    best = queries.new_full((len(queries), 0), 0.0)  # of the background
    fresh = queries.new_full((len(queries), len(rows)), -torch.inf)
    for block, ids in nearest.checked(collection.folder, collection.table) if len(collection) else ():
        scores = queries @ block.T
        among = torch.isin(ids, rows).nonzero()[:, 0]
        places = torch.searchsorted(rows, ids[among])
        fresh[:, places] = scores[:, among]
        scores[:, among] = scores[:, among].masked_fill(mine[:, places], -torch.inf)
        best = torch.cat([best, scores], dim=1)
        best = best.topk(min(wide, best.shape[1]), sorted=False).values
    best, fresh = best.sort(dim=1, descending=True).values, fresh.masked_fill(~mine, -torch.inf)
    return [_above(best[q], fresh[q], rows, named, background, share) for q, background in enumerate(sizes)]


def _above(best: torch.Tensor, fresh: torch.Tensor, rows: torch.Tensor, named: dict[int, str], background: int, share: float) -> Found:
    """``best``: at least the first k cosines of the background, descending; ``fresh``: (M,) those of the rows that are new."""
    k = _rank(background, share)
    threshold = float(best[k - 1]) if background else float("-inf")
    ascending = [-value for value in best[:k].tolist()] if background else []
    passed = (fresh > threshold).nonzero()[:, 0]
    ranked = sorted(zip(fresh[passed].tolist(), rows[passed].tolist(), strict=True), key=lambda pair: (-pair[0], pair[1]))
    near = [Near(named[row], score, (1 + bisect.bisect_right(ascending, -score)) / (background + 1)) for score, row in ranked]
    return Found(near, threshold, background, k / (background + 1) if background else 1.0)


def _rank(background: int, share: float) -> int:
    least = min(_LEAST, int(_WIDEST * (background + 1) + 1e-9))
    return max(1, least, int(share * (background + 1) + 1e-9))


def _named(collection: Collection, ids: set[str]) -> dict[int, str]:
    """Row id -> id, of those that are there."""
    names = sorted(ids)
    found: dict[int, str] = {}
    for start in range(0, len(names) if len(collection) else 0, _NAMES):
        where = f"id IN ({', '.join(map(quoted, names[start : start + _NAMES]))})"
        for batch in tables.scan(collection.table, where, ["id"], row_ids=True):
            found.update(zip(batch.column("_rowid").to_pylist(), batch.column("id").to_pylist(), strict=True))
    return found
