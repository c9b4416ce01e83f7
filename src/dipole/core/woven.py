"""Both sides of aligned pairs as queries: what ``Pairs.both_views`` does.

Items are woven, a_0, b_0, a_1, b_1, ..., so that what a process holds stays in one piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from dipole.core.errors import DataError
from dipole.core.ranks import Ring
from dipole.core.relations import Diagonal, Match, Relation
from dipole.core.scores import Channel
from dipole.core.vectors import Vectors, concatenate, cut, side_length

if TYPE_CHECKING:
    from dipole.core.pairs import Pairs

Read = Callable[[slice, slice], torch.Tensor | None]


@dataclass(frozen=True, eq=False)
class Woven:
    """A relation between n pairs, as one between their 2n items: what related (i, j) relates both items of i and of j.

    Columns after the first n (rows, once flipped) stay single.
    """

    inner: Relation
    n: int
    offset: None = None

    @property
    def graded(self) -> bool:
        return self.inner.graded

    def tile(self, rows: slice, cols: slice) -> torch.Tensor | None:
        return self._spread(self.inner.tile, rows, cols)

    def weights(self, rows: slice, cols: slice) -> torch.Tensor | None:
        return self._spread(self.inner.weights, rows, cols)

    def count(self, rows: slice, n_cols: int) -> torch.Tensor:
        parts = []
        for at, keep, times in self._pieces(rows):
            twice = self.inner.count(at, self.n)
            more = self.inner.count(at, n_cols - self.n) - twice
            parts.append((2 * twice + more).repeat_interleave(times)[keep])
        return torch.cat(parts)

    def flipped(self) -> Woven:
        return Woven(self.inner.flipped(), self.n)

    def widened(self, more: int) -> Woven:
        return Woven(self.inner.widened(more), self.n)

    def _pieces(self, at: slice) -> Iterator[tuple[slice, slice, int]]:
        """Of a block of items: the block of pairs it comes from, the part of that to keep once repeated, and how often repeated."""
        twice = slice(at.start, min(at.stop, 2 * self.n))
        if twice.start < twice.stop:
            first = twice.start // 2
            yield slice(first, (twice.stop + 1) // 2), slice(twice.start - 2 * first, twice.stop - 2 * first), 2
        once = slice(max(at.start, 2 * self.n), at.stop)
        if once.start < once.stop:
            yield slice(once.start - self.n, once.stop - self.n), slice(0, once.stop - once.start), 1

    def _spread(self, read: Read, rows: slice, cols: slice) -> torch.Tensor | None:
        lines: list[list[torch.Tensor | tuple[int, int]]] = []
        for row, keep_row, row_times in self._pieces(rows):
            line: list[torch.Tensor | tuple[int, int]] = []
            for col, keep_col, col_times in self._pieces(cols):
                block = read(row, col)
                shape = keep_row.stop - keep_row.start, keep_col.stop - keep_col.start
                if block is None:
                    line.append(shape)
                else:
                    line.append(block.repeat_interleave(row_times, 0)[keep_row].repeat_interleave(col_times, 1)[:, keep_col])
            lines.append(line)
        some = next((b for line in lines for b in line if isinstance(b, torch.Tensor)), None)
        if some is None:
            return None
        filled = [[b if isinstance(b, torch.Tensor) else some.new_zeros(b) for b in line] for line in lines]
        return torch.cat([torch.cat(line, dim=1) for line in filled])


def woven(pairs: Pairs) -> Pairs:
    """See ``Pairs.both_views``."""
    if pairs.aligned_at("both_views") != 0:
        raise DataError("both_views: row i's positive must be column i", value=pairs.positive.offset)
    n, total = pairs.shape
    first, more = slice(0, side_length(pairs.queries)), slice(side_length(pairs.queries), side_length(pairs.keys))

    def both(queries: Vectors, keys: Vectors) -> tuple[Vectors, Vectors]:
        answers, rest = cut(keys, first), cut(keys, more)
        others = _weave(answers, queries)
        return _weave(queries, answers), concatenate(others, rest) if side_length(rest) else others

    queries, keys = both(pairs.queries, pairs.keys)
    places = torch.arange(2 * n, device=pairs.device)
    itself = Match(places, torch.cat([places ^ 1, places.new_full((total - n,), -1)]))
    twins = {name: (pairs.rows.get(name), pairs.cols.get(name)) for name in {**pairs.rows, **pairs.cols}}
    rows, cols = {}, {}
    for name, (of_row, of_col) in twins.items():
        known = of_row if of_row is not None else of_col
        assert known is not None
        count = len(of_row) if of_row is not None else first.stop if known.requires_grad else n
        mine, theirs = known[:count], (of_col if of_col is not None else known)[:count]
        rows[name] = _weave_tensors(mine, theirs)
        if of_col is not None or total == n:
            cols[name] = torch.cat([_weave_tensors(theirs, mine), of_col[count:]]) if of_col is not None else _weave_tensors(theirs, mine)
    channels = {}
    for name, channel in pairs.channels.items():
        channels[name] = Channel(*both(channel.queries, channel.keys), channel.score)
    return replace(
        pairs,
        queries=queries,
        keys=keys,
        positive=Diagonal(0, 2 * n, device=pairs.device),
        excluded=(itself, *(Woven(r, n) for r in pairs.excluded)),
        duplicates=tuple(Woven(r, n) for r in pairs.duplicates),
        rows=rows,
        cols=cols,
        channels=channels,
        local=None if pairs.local is None else (_twice(pairs.local[0]), _twice(pairs.local[1])),
        ring=None if pairs.ring is None else _twice_around(pairs.ring),
    )


def _weave(first: Vectors, second: Vectors) -> Vectors:
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return _weave_tensors(first, second)
    return tuple(_weave_tensors(a, b) for a, b in zip(first, second, strict=True))


def _weave_tensors(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    if first.shape != second.shape:
        raise DataError("both_views: both sides must have vectors of one shape", value=(tuple(first.shape), tuple(second.shape)))
    return torch.stack([first, second], dim=1).flatten(0, 1)


def _twice(at: slice) -> slice:
    return slice(2 * at.start, 2 * at.stop)


def _twice_around(ring: Ring) -> Ring:
    return Ring(ring.rank, tuple(2 * s for s in ring.row_starts), tuple(2 * s for s in ring.col_starts))
