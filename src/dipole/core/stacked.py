"""More than two views of an item: one side of (N, V, d), and the ordinary pairs a loss makes of it.

A row of the batch is an item, with V views stacked along a second dimension; so gathering, rings, gradient caching and metadata
treat it as they treat any row. A loss for several views asks here for what it compares: every view with every view
(``each_view``), one view of all items (``one_view``), the views of one item among themselves (``view_scores``).

>>> pairs = stacked(torch.eye(4).reshape(2, 2, 4))
>>> pairs.shape, each_view(pairs).shape, view_scores(pairs).shape
((2, 2), (4, 4), torch.Size([2, 2, 2]))
"""

from __future__ import annotations

from dataclasses import replace

import torch

from dipole.core.errors import DataError
from dipole.core.pairs import Pairs
from dipole.core.ranks import Ring
from dipole.core.relations import Diagonal, Match
from dipole.core.scores import Score, scores_of_pairs


def stacked(views: torch.Tensor, *, score: Score | None = None, ids: torch.Tensor | None = None) -> Pairs:
    """Items against items, each with its views (N, V, d). ``ids`` (N,) int64: equal for equal items, which do not repel each other.

    Raises DataError unless there are at least two views.
    """
    if views.dim() != 3 or views.shape[1] < 2:
        rule = "stacked: views must be (items, views, dimensions) with two views or more"
        raise DataError(rule, value=tuple(views.shape), remedy="use views = multi_view")
    meta = {} if ids is None else {"id": ids}
    itself = Diagonal(0, len(views), device=views.device)
    pairs = Pairs(views, views, itself, rows=meta, cols=meta)
    return pairs if score is None else replace(pairs, score=score)


def is_stacked(pairs: Pairs) -> bool:
    """Whether the queries hold several views an item."""
    return isinstance(pairs.queries, torch.Tensor) and pairs.queries.dim() == 3


def views_of(pairs: Pairs, loss: str) -> torch.Tensor:
    """(N, V, d) the views this process holds. Raises DataError where the pairs hold one vector an item, or token vectors."""
    if not is_stacked(pairs) or not isinstance(pairs.queries, torch.Tensor):
        raise DataError(f"{loss} compares several views of each item, stacked as (N, V, d)", remedy="use views = multi_view")
    return pairs.queries


def each_view(pairs: Pairs) -> Pairs:
    """Every view of every item against all others: N V rows and columns, item after item; positive are the item's other views.

    ``rows`` and ``cols`` hold ``item`` and ``view``.
    """
    views = views_of(pairs, "each_view")
    v = views.shape[1]
    items = torch.arange(pairs.shape[0], device=views.device).repeat_interleave(v)
    meta = {"item": items, "view": torch.arange(v, device=views.device).repeat(pairs.shape[0])}
    flat = views.flatten(0, 1)
    return Pairs(
        flat,
        flat if pairs.keys is pairs.queries else _flat(pairs.keys),
        Match(items, items, others_only=True),
        pairs.score,
        excluded=(Diagonal(0, len(items), device=views.device),),
        duplicates=_copies(pairs, v),
        rows=meta,
        cols=meta,
        local=None if pairs.local is None else (_longer(pairs.local[0], v), _longer(pairs.local[1], v)),
        ring=None if pairs.ring is None else _longer_ring(pairs.ring, v),
    )


def one_view(pairs: Pairs, view: int) -> Pairs:
    """One view of all items among itself: N rows and columns, nobody positive and nothing against itself."""
    vectors = views_of(pairs, "one_view")[:, view]
    nobody = torch.full((pairs.shape[0],), -1, device=vectors.device)
    itself = Diagonal(0, pairs.shape[0], device=vectors.device)
    return replace(pairs, queries=vectors, keys=vectors, positive=Match(nobody, nobody), excluded=(itself,), duplicates=_copies(pairs, 1))


def view_scores(pairs: Pairs) -> torch.Tensor:
    """(n, V, V) for the own items: the score of each view with each view of the same item, float32 or better."""
    views = views_of(pairs, "view_scores")
    if pairs.local is not None:
        views = views[pairs.own_rows]
    n, v, d = views.shape
    left = views[:, :, None].expand(n, v, v, d).reshape(-1, d)
    right = views[:, None, :].expand(n, v, v, d).reshape(-1, d)
    return scores_of_pairs(pairs.score, left, right).reshape(n, v, v)


def _flat(views: object) -> torch.Tensor:
    assert isinstance(views, torch.Tensor)
    return views.flatten(0, 1)


def _copies(pairs: Pairs, v: int) -> tuple[Match, ...]:
    if "id" not in pairs.rows:
        return ()
    ids = pairs.rows["id"].repeat_interleave(v)
    return (Match(ids, ids),)


def _longer(part: slice, times: int) -> slice:
    return slice(part.start * times, part.stop * times)


def _longer_ring(ring: Ring, times: int) -> Ring:
    return Ring(ring.rank, tuple(s * times for s in ring.row_starts), tuple(s * times for s in ring.col_starts))
