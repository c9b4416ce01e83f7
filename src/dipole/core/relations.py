"""Which entries of the N x M matrix are positive, which are left out: rules that can be read a tile at a time.

A relation is never a matrix. It answers for a block of rows and a block of columns, says cheaply when a block holds
nothing, and counts its entries per row without visiting the columns one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch


class Relation(Protocol):
    """A set of (row, column) entries."""

    @property
    def offset(self) -> int | None:
        """Where every row has one column at a fixed distance: that distance. Otherwise None."""
        ...

    @property
    def graded(self) -> bool:
        """Whether entries weigh anything but 1."""
        ...

    def tile(self, rows: slice, cols: slice) -> torch.Tensor | None:
        """(n, m) bool for the block; None where the block surely holds no entry."""
        ...

    def weights(self, rows: slice, cols: slice) -> torch.Tensor | None:
        """(n, m) weight of each entry, 0 elsewhere; None where the block surely holds none."""
        ...

    def count(self, rows: slice, n_cols: int) -> torch.Tensor:
        """(n,) int64: entries of each row of the block over all columns."""
        ...

    def flipped(self) -> Relation:
        """The same entries with rows and columns exchanged."""
        ...

    def widened(self, more: int) -> Relation:
        """The same entries after ``more`` columns that nothing relates to were appended."""
        ...


@dataclass(frozen=True, eq=False)
class Diagonal:
    """Row i is related to column i + offset, for the first ``length`` rows after ``start``."""

    offset: int
    length: int
    start: int = 0
    device: torch.device | None = None
    graded: bool = False

    def tile(self, rows: slice, cols: slice) -> torch.Tensor | None:
        first = max(rows.start, self.start, cols.start - self.offset)
        last = min(rows.stop, self.start + self.length, cols.stop - self.offset)
        if first >= last:
            return None
        mask = torch.zeros(rows.stop - rows.start, cols.stop - cols.start, dtype=torch.bool, device=self.device)
        mask[first - rows.start : last - rows.start, first + self.offset - cols.start : last + self.offset - cols.start].fill_diagonal_(
            True
        )
        return mask

    def weights(self, rows: slice, cols: slice) -> torch.Tensor | None:
        return _as_weights(self.tile(rows, cols))

    def count(self, rows: slice, n_cols: int) -> torch.Tensor:
        at = torch.arange(rows.start, rows.stop, device=self.device)
        inside = (at >= self.start) & (at < self.start + self.length) & (at + self.offset >= 0) & (at + self.offset < n_cols)
        return inside.long()

    def flipped(self) -> Diagonal:
        return Diagonal(-self.offset, self.length, self.start + self.offset, self.device)

    def widened(self, more: int) -> Diagonal:
        return self


@dataclass(frozen=True, eq=False)
class Match:
    """Row i is related to every column with the same value; negative values match nothing.

    ``others_only``: rows and columns are the same items, and none is related to itself.
    """

    rows: torch.Tensor  # (N,) int64
    cols: torch.Tensor  # (M,) int64
    others_only: bool = False
    offset: None = None
    graded: bool = False

    def tile(self, rows: slice, cols: slice) -> torch.Tensor | None:
        mask = _silent(self.rows[rows, None], -1) == _silent(self.cols[None, cols], -2)
        first, last = max(rows.start, cols.start), min(rows.stop, cols.stop)
        if self.others_only and first < last:
            mask[first - rows.start : last - rows.start, first - cols.start : last - cols.start].fill_diagonal_(False)
        return mask

    def weights(self, rows: slice, cols: slice) -> torch.Tensor | None:
        return _as_weights(self.tile(rows, cols))

    def count(self, rows: slice, n_cols: int) -> torch.Tensor:
        ordered = self.cols[:n_cols].sort().values
        mine = self.rows[rows].contiguous()
        found = torch.searchsorted(ordered, mine, right=True) - torch.searchsorted(ordered, mine)
        if self.others_only:
            here = torch.arange(rows.start, rows.stop, device=mine.device)
            found = found - ((here < n_cols) & (self.cols[here.clamp(max=len(self.cols) - 1)] == mine)).long()
        return found * (mine >= 0)

    def flipped(self) -> Match:
        return Match(self.cols, self.rows, self.others_only)

    def widened(self, more: int) -> Match:
        return Match(self.rows, torch.cat([self.cols, self.cols.new_full((more,), -1)]), self.others_only)


@dataclass(frozen=True, eq=False)
class Owned:
    """Column j belongs to row ``owner[j]``: related to every *other* row. -1 belongs to all and is related to none.

    As an exclusion this makes a hard negative visible to its own row only.
    """

    owner: torch.Tensor  # (M,) int64
    by_column: bool = True  # False after flipping: the owner is then per row
    offset: None = None
    graded: bool = False

    def tile(self, rows: slice, cols: slice) -> torch.Tensor | None:
        if self.by_column:
            owner = self.owner[None, cols]
            here = torch.arange(rows.start, rows.stop, device=owner.device)[:, None]
        else:
            owner = self.owner[rows, None]
            here = torch.arange(cols.start, cols.stop, device=owner.device)[None, :]
        return (owner >= 0) & (owner != here)

    def weights(self, rows: slice, cols: slice) -> torch.Tensor | None:
        return _as_weights(self.tile(rows, cols))

    def count(self, rows: slice, n_cols: int) -> torch.Tensor:
        owner = self.owner[:n_cols] if self.by_column else self.owner
        owned = owner >= 0
        if not self.by_column:
            return owned[rows].long() * (n_cols - 1)
        here = torch.arange(rows.start, rows.stop, device=owner.device)
        mine = torch.bincount(owner[owned], minlength=rows.stop)[here] if owned.any() else torch.zeros_like(here)
        return owned.sum() - mine

    def flipped(self) -> Owned:
        return Owned(self.owner, not self.by_column)

    def widened(self, more: int) -> Owned:
        if not self.by_column:
            raise ValueError("add negatives before exchanging rows and columns")
        return Owned(torch.cat([self.owner, self.owner.new_full((more,), -1)]))


@dataclass(frozen=True, eq=False)
class AllBut:
    """Within ``span``, every entry that ``inner`` does not relate; outside it none.

    As an exclusion this leaves, of a span of columns, only what ``inner`` keeps: the hardest of a queue, say.
    """

    inner: Relation
    span: slice
    device: torch.device
    by_column: bool = True  # False after flipping: the span is then one of rows
    offset: None = None
    graded: bool = False

    def tile(self, rows: slice, cols: slice) -> torch.Tensor | None:
        axis = cols if self.by_column else rows
        inside = slice(max(axis.start, self.span.start), min(axis.stop, self.span.stop))
        if inside.start >= inside.stop:
            return None
        kept = self.inner.tile(rows, inside) if self.by_column else self.inner.tile(inside, cols)
        mask = torch.zeros(rows.stop - rows.start, cols.stop - cols.start, dtype=torch.bool, device=self.device)
        here = slice(inside.start - axis.start, inside.stop - axis.start)
        mask[(slice(None), here) if self.by_column else here] = True if kept is None else ~kept
        return mask

    def weights(self, rows: slice, cols: slice) -> torch.Tensor | None:
        return _as_weights(self.tile(rows, cols))

    def count(self, rows: slice, n_cols: int) -> torch.Tensor:
        if self.by_column:
            first, last = min(self.span.start, n_cols), min(self.span.stop, n_cols)
            kept = self.inner.count(rows, last) - self.inner.count(rows, first)
            return torch.full_like(kept, last - first) - kept
        here = torch.arange(rows.start, rows.stop, device=self.device)
        inside = (here >= self.span.start) & (here < self.span.stop)
        return torch.where(inside, n_cols - self.inner.count(rows, n_cols), 0)

    def flipped(self) -> AllBut:
        return AllBut(self.inner.flipped(), self.span, self.device, not self.by_column)

    def widened(self, more: int) -> AllBut:
        if not self.by_column:
            raise ValueError("add negatives before exchanging rows and columns")
        return AllBut(self.inner.widened(more), self.span, self.device)


@dataclass(frozen=True, eq=False)
class Listed:
    """Entries given one by one with a weight each: ``weight[e]`` at (``row[e]``, ``col[e]``); the rest weigh 0.

    Entries must be sorted by row and differ; :meth:`of` sees to both, and adds the weights of an entry listed twice.
    """

    row: torch.Tensor  # (E,) int64, ascending
    col: torch.Tensor  # (E,) int64
    weight: torch.Tensor  # (E,) floating
    offset: None = None
    graded: bool = True

    @staticmethod
    def of(row: torch.Tensor, col: torch.Tensor, weight: torch.Tensor) -> Listed:
        width = int(col.max()) + 1 if len(col) else 1
        places, which = (row * width + col).unique(return_inverse=True)
        return Listed(places // width, places % width, weight.new_zeros(len(places)).index_add_(0, which, weight))

    def weights(self, rows: slice, cols: slice) -> torch.Tensor | None:
        """(n, m) weights of the block; None where the block holds no entry."""
        bounds = torch.tensor([rows.start, rows.stop], device=self.row.device)
        first, last = torch.searchsorted(self.row, bounds).tolist()
        row, col, weight = self.row[first:last], self.col[first:last], self.weight[first:last]
        inside = (col >= cols.start) & (col < cols.stop)
        if not bool(inside.any()):
            return None
        block = torch.zeros(rows.stop - rows.start, cols.stop - cols.start, dtype=weight.dtype, device=weight.device)
        return block.index_put((row[inside] - rows.start, col[inside] - cols.start), weight[inside])

    def tile(self, rows: slice, cols: slice) -> torch.Tensor | None:
        weights = self.weights(rows, cols)
        return None if weights is None else weights > 0

    def count(self, rows: slice, n_cols: int) -> torch.Tensor:
        kept = self.row[(self.weight > 0) & (self.col < n_cols)]
        return torch.bincount(kept, minlength=rows.stop)[rows]

    def flipped(self) -> Listed:
        return Listed.of(self.col, self.row, self.weight)

    def widened(self, more: int) -> Listed:
        return self


def equal_places(left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """All (i, j) with left[i] == right[j] >= 0, i ascending, and j within each i."""
    order = right.argsort(stable=True)
    ordered = right[order]
    first = torch.searchsorted(ordered, left)
    many = (torch.searchsorted(ordered, left, right=True) - first) * (left >= 0)
    i = torch.repeat_interleave(torch.arange(len(left), device=left.device), many)
    within = torch.arange(len(i), device=left.device) - (many.cumsum(0) - many)[i]
    return i, order[first[i] + within]


def copies(
    query_groups: torch.Tensor, key_groups: torch.Tensor, key_ids: torch.Tensor, col_ids: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(row, col) of every column with the content of one of the row's positives, the positives themselves included.

    ``query_groups`` (N,), ``key_groups`` and ``key_ids`` (M,), ``col_ids`` (M + K,): who belongs together, equal contents.
    """
    row, key = equal_places(query_groups, key_groups)
    at, col = equal_places(key_ids[key], col_ids)
    found: torch.Tensor = torch.unique(torch.stack([row[at], col]), dim=1)
    return found[0], found[1]


def _silent(values: torch.Tensor, as_value: int) -> torch.Tensor:
    """Negative values replaced, so that those of rows and those of columns differ and match nothing."""
    return values.where(values >= 0, as_value)


def _as_weights(mask: torch.Tensor | None) -> torch.Tensor | None:
    return None if mask is None else mask.float()
