"""A row's own list of candidates, with its scores and a teacher's, as one padded (n, L) table.

Rows and columns whose metadata ``list`` is the same number belong together: a query and the passages retrieved for it. A loss that
sorts needs a row's candidates side by side, which no tile can promise; lists are short, so they are laid out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dipole.core.errors import DataError, DegenerateBatchError
from dipole.core.pairs import Pairs
from dipole.core.relations import equal_places
from dipole.core.scores import Score, scores_of_pairs
from dipole.core.vectors import Vectors


@dataclass(frozen=True, eq=False)
class Lists:
    """``scores`` and ``teacher`` (n, L) for the own rows, float32 or better; ``listed`` (n, L) bool, False on padding.

    ``cols`` (n, L) int64 says which column an entry is, -1 on padding; padded scores are 0.
    """

    scores: torch.Tensor
    teacher: torch.Tensor
    listed: torch.Tensor
    cols: torch.Tensor

    @property
    def compares(self) -> torch.Tensor:
        """(n,) bool: the row's list has two candidates or more, so that there is an order to learn."""
        return self.listed.sum(1) > 1


def lists_of(pairs: Pairs, loss: str) -> Lists:
    """The lists of the own rows, candidates in the order of the columns.

    Raises DataError where the pairs have no lists or no teacher, and on a ring, whose columns are elsewhere;
    DegenerateBatchError where no list of the whole batch has two candidates.
    """
    if "list" not in pairs.rows or "list" not in pairs.cols:
        raise DataError(f"{loss}: each row needs a list of candidates of its own", remedy="use views = candidate_lists")
    if "teacher" not in pairs.channels:
        raise DataError(
            f"{loss}: the pairs must have a channel 'teacher'", remedy="use views = candidate_lists, with a score for each candidate"
        )
    if pairs.ring is not None:
        raise DataError(f"{loss}: a row's list must be at hand, and a ring's rank holds its own columns only", remedy="gather instead")
    row, col = equal_places(pairs.rows["list"], pairs.cols["list"])
    many = torch.bincount(row, minlength=pairs.shape[0])
    if not bool((many > 1).any()):
        rule = f"{loss}: no list has two candidates, so there is no order to learn"
        raise DegenerateBatchError(rule, remedy="give rows several negatives")
    own = (row >= pairs.own_rows.start) & (row < pairs.own_rows.stop)
    row, col, many = row[own] - pairs.own_rows.start, col[own], many[pairs.own_rows]
    width = int(many.max()) if len(many) else 0
    place = torch.arange(len(row), device=row.device) - (many.cumsum(0) - many)[row]
    cols = torch.full((len(many), width), -1, device=row.device).index_put((row, place), col)
    queries = row + pairs.own_rows.start
    teacher = pairs.channels["teacher"]

    def table(score: Score, left: Vectors, right: Vectors) -> torch.Tensor:
        found = scores_of_pairs(score, _at(left, queries), _at(right, col))
        return found.new_zeros(len(many), width).index_put((row, place), found)

    with torch.no_grad():
        taught = table(teacher.score, teacher.queries, teacher.keys)
    return Lists(table(pairs.score, pairs.queries, pairs.keys), taught, cols >= 0, cols)


def _at(vectors: Vectors, index: torch.Tensor) -> Vectors:
    return vectors[index] if isinstance(vectors, torch.Tensor) else tuple(v[index] for v in vectors)
