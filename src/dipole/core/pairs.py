"""``Pairs``: who is compared with whom, who is positive, who does not count.

Queries are the rows of a score matrix that is never built, keys its columns. Hard negatives, queues and keys gathered
from other ranks are further columns. A loss reads a ``Pairs`` and knows nothing of models, queues or devices.

>>> q = torch.eye(3)
>>> pairs = Pairs.aligned(q, q)
>>> pairs.shape, pairs.positive_scores().tolist()
((3, 3), [1.0, 1.0, 1.0])
>>> Pairs.labelled(q, torch.tensor([0, 1, 0])).positives_per_row().tolist()
[1, 0, 1]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch

from dipole.core.errors import DataError, DegenerateBatchError
from dipole.core.ranks import Ring, gather_sides
from dipole.core.relations import Diagonal, Listed, Match, Relation
from dipole.core.scores import Channel, Dot, Score, scores_of_pairs
from dipole.core.turning import among, answers, turned
from dipole.core.vectors import Vectors, cut, leading, one_each, side_length
from dipole.core.widening import widened
from dipole.core.woven import woven


@dataclass(frozen=True, eq=False)
class Pairs:
    """N queries against M keys. Build one with a constructor: ``aligned``, ``labelled``, ``grouped``, ``weighted``.

    ``queries`` (N, d), ``keys`` (M, d), or a tuple of tensors with leading N / M for token scores.
    ``positive`` who belongs together. ``excluded`` entries no objective sees, positives among them included (an item
    against itself). ``duplicates`` entries no objective sees unless they are positive (other copies of the positive).
    ``rows`` / ``cols`` metadata with leading N / M that tile functions may read (labels, weights, statistics).
    ``channels`` further scores over the same rows and columns, a teacher's for example; ``weighing`` names those of them whose
    score is the log of a weight: what a softmax over candidates multiplies the exponential of each negative by.
    ``local`` the rows and columns this process answers for, where the vectors were gathered from several.
    ``ring`` set where this process holds only its own rows and columns of a global batch: relations then speak of global
    places, vectors are the local ones, and the engine passes columns around.
    """

    queries: Vectors
    keys: Vectors
    positive: Relation
    score: Score = field(default_factory=Dot)
    excluded: tuple[Relation, ...] = ()
    duplicates: tuple[Relation, ...] = ()
    rows: Mapping[str, torch.Tensor] = field(default_factory=dict)
    cols: Mapping[str, torch.Tensor] = field(default_factory=dict)
    channels: Mapping[str, Channel] = field(default_factory=dict)
    weighing: tuple[str, ...] = ()
    local: tuple[slice, slice] | None = None
    ring: Ring | None = None

    def __post_init__(self) -> None:
        for side, vectors in (("queries", self.queries), ("keys", self.keys)):
            if side_length(vectors) == 0:
                raise DataError(
                    f"Pairs: {side} must hold at least one vector", value=tuple(leading(vectors).shape), remedy="drop empty batches"
                )
        held = side_length(self.queries), side_length(self.keys)
        spans = self.own_rows, self.own_cols
        if self.ring is not None and held != tuple(s.stop - s.start for s in spans):
            raise DataError("Pairs: a ring's rank must hold the rows and columns of its spans", value=(held, spans))
        for axis, whole, here, meta in (("rows", self.shape[0], held[0], self.rows), ("cols", self.shape[1], held[1], self.cols)):
            for name, tensor in meta.items():
                length = here if tensor.requires_grad else whole  # on a ring: metadata with a gradient is held like vectors
                if len(tensor) != length:
                    raise DataError(f"Pairs: {axis}[{name!r}] must have one entry per {axis[:-1]}, {length}", value=len(tensor))
        for name, channel in self.channels.items():
            lengths = side_length(channel.queries), side_length(channel.keys)
            if lengths != (held := (side_length(self.queries), side_length(self.keys))):
                raise DataError(f"Pairs: channel {name!r} must have one vector per query and key, {held}", value=lengths)

    @property
    def shape(self) -> tuple[int, int]:
        """(N, M), of the global batch where there is one."""
        if self.ring is not None:
            return self.ring.row_starts[-1], self.ring.col_starts[-1]
        return side_length(self.queries), side_length(self.keys)

    @property
    def device(self) -> torch.device:
        return leading(self.queries).device

    @classmethod
    def aligned(
        cls,
        queries: Vectors,
        keys: Vectors,
        *,
        score: Score | None = None,
        query_ids: torch.Tensor | None = None,
        key_ids: torch.Tensor | None = None,
    ) -> Pairs:
        """Row i's positive is column i; every other column is a negative.

        ``query_ids`` / ``key_ids`` (N,) int64, equal for equal content: columns that are copies of row i's positive,
        or positives of copies of row i, are left out instead of serving as false negatives.

        Raises DataError where there are more queries than keys or the ids have another length.
        """
        n, m = side_length(queries), side_length(keys)
        if n > m:
            raise DataError("Pairs.aligned: every query needs the key of the same index", value=f"{n} queries, {m} keys")
        duplicates = []
        for name, ids in (("query_ids", query_ids), ("key_ids", key_ids)):
            if ids is not None:
                one_each(f"Pairs.aligned: {name}", ids, n)
                padded = torch.cat([ids, ids.new_full((m - n,), -1)]) if m > n else ids
                duplicates.append(Match(ids, padded))
        positive = Diagonal(0, n, device=leading(queries).device)
        return cls(queries, keys, positive, score or Dot(), duplicates=tuple(duplicates))

    @classmethod
    def labelled(
        cls,
        queries: Vectors,
        labels: torch.Tensor,
        keys: Vectors | None = None,
        key_labels: torch.Tensor | None = None,
        *,
        score: Score | None = None,
    ) -> Pairs:
        """Positives share a label, (N,) int64, negative for none. Without ``keys`` the batch is compared with itself and
        nothing with itself alone."""
        one_each("Pairs.labelled: labels", labels, side_length(queries))
        if (keys is None) != (key_labels is None):
            raise DataError("Pairs.labelled: keys and key_labels come together", remedy="give both or neither")
        if keys is None or key_labels is None:
            itself = Diagonal(0, len(labels), device=labels.device)
            same = Match(labels, labels, others_only=True)
            return cls(queries, queries, same, score or Dot(), (itself,), rows={"label": labels}, cols={"label": labels})
        one_each("Pairs.labelled: key_labels", key_labels, side_length(keys))
        return cls(queries, keys, Match(labels, key_labels), score or Dot(), rows={"label": labels}, cols={"label": key_labels})

    @classmethod
    def grouped(
        cls,
        queries: Vectors,
        keys: Vectors,
        query_groups: torch.Tensor,
        key_groups: torch.Tensor,
        *,
        score: Score | None = None,
    ) -> Pairs:
        """Several positives a row, any number each: the keys of the same group. Groups (N,) and (M,) int64."""
        return cls.labelled(queries, query_groups, keys, key_groups, score=score)

    @classmethod
    def weighted(
        cls,
        queries: Vectors,
        keys: Vectors,
        row: torch.Tensor,
        col: torch.Tensor,
        weight: torch.Tensor,
        *,
        score: Score | None = None,
    ) -> Pairs:
        """Graded positives, listed: entry e says that (row[e], col[e]) is positive with weight[e] >= 0."""
        n, m = side_length(queries), side_length(keys)
        one_each("Pairs.weighted: col", col, len(row))
        one_each("Pairs.weighted: weight", weight, len(row))
        for name, index, length in (("row", row, n), ("col", col, m)):
            if len(index) and not (0 <= int(index.min()) and int(index.max()) < length):
                raise DataError(f"Pairs.weighted: {name} must be from 0 to {length - 1}", value=(int(index.min()), int(index.max())))
        if weight.requires_grad:
            raise DataError(
                "Pairs.weighted: weights are given, not learned, and would lose their gradient",
                remedy="detach them, and hand learned weights to the loss as parameters or metadata",
            )
        wrong = ~((weight >= 0) & weight.isfinite())
        if bool(wrong.any()):
            raise DataError("Pairs.weighted: weights must be finite numbers of at least 0", value=float(weight[wrong][0]))
        return cls(queries, keys, Listed.of(row, col, weight), score or Dot())

    def with_negatives(
        self,
        vectors: Vectors,
        owner: torch.Tensor | None = None,
        copy_of: torch.Tensor | None = None,
        cols: Mapping[str, torch.Tensor] | None = None,
        channels: Mapping[str, Vectors] | None = None,
    ) -> Pairs:
        """Add columns that are positive for nobody: mined negatives, a queue, the other view of every query.

        ``owner`` (K,) int64: the row each belongs to, and only that row sees it; -1 or no owner at all: every row does.
        Ragged negatives are one flat tensor with owners repeated as needed. ``copy_of`` (K,) int64: the row each is a copy
        of, and that row does not see it (a query against its own vector). ``cols``: metadata of the new columns; whole numbers
        that are not given become -1, which matches nothing. ``channels``: their vectors in each channel there is.

        Raises DataError for an owner that is no row, for missing metadata, and on a ring, whose columns are fixed.
        """
        return widened(self, vectors, owner, copy_of, cols or {}, channels or {})

    def reversed(self) -> Pairs:
        """Keys ask, queries answer: the transposed matrix."""
        return turned(self)

    def answers(self) -> Pairs:
        """Aligned pairs the other way: the keys that are positives ask, the queries answer; row i belongs to query i.

        Further columns (hard negatives, a queue) do not ask. Raises DataError unless row i's positive is column i.
        """
        return answers(self)

    def both_views(self) -> Pairs:
        """Aligned pairs with every item as a query: 2N rows a_0, b_0, a_1, ..., each against all items but itself.

        Row 2i belongs to column 2i, which holds b_i; row 2i + 1 to column 2i + 1, which holds a_i. So InfoNCE of it is NT-Xent over
        both views (arXiv:2002.05709, eq. 1). Further columns are seen as before; ids and owners count for both items of a pair.
        Raises DataError unless row i's positive is column i and both sides have vectors of one shape.
        """
        return woven(self)

    def among(self, side: str, score: Score | None = None) -> Pairs:
        """One side (``queries`` or ``keys``) against itself, nobody positive and nothing against itself."""
        return among(self, side, score)

    @property
    def own_rows(self) -> slice:
        """The rows this process answers for, by their place in the global batch: all, unless gathered."""
        if self.ring is not None:
            return self.ring.own_rows
        return slice(0, self.shape[0]) if self.local is None else self.local[0]

    @property
    def own_cols(self) -> slice:
        """The columns this process answers for when they ask: all, unless gathered."""
        if self.ring is not None:
            return self.ring.own_cols
        return slice(0, self.shape[1]) if self.local is None else self.local[1]

    def positives_per_row(self) -> torch.Tensor:
        """(N,) int64 for the own rows; an item is never its own positive."""
        return self.positive.count(self.own_rows, self.shape[1])

    def positive_scores(self) -> torch.Tensor:
        """(N,) float32 or better: the score of each own row with its one positive.

        Raises DataError unless the pairs are aligned.
        """
        offset = self.aligned_at("positive_scores")
        rows = self.own_rows
        cols = slice(rows.start + offset, rows.stop + offset)
        if cols.start < 0 or cols.stop > self.shape[1] or not bool(self.positives_per_row().all()):
            raise DataError("positive_scores: some rows have no positive", value=f"{self.shape[0]} rows, {self.shape[1]} columns")
        if self.ring is not None:
            held = self.own_rows.start, self.own_cols.start
            rows, cols = slice(rows.start - held[0], rows.stop - held[0]), slice(cols.start - held[1], cols.stop - held[1])
        return scores_of_pairs(self.score, cut(self.queries, rows), cut(self.keys, cols))

    def all_positive_scores(self) -> torch.Tensor:
        """(N,) the score of every row of the whole batch with its one positive, on every process; gradients flow home."""
        if self.ring is None:
            return replace(self, local=None).positive_scores()
        everyone = gather_sides({"scores": self.positive_scores()}, {})[0]["scores"]
        return leading(everyone)

    def at_positive(self, column_values: torch.Tensor) -> torch.Tensor:
        """(N,) the value of each own row's positive column, of values given for the own columns. Aligned pairs only."""
        offset = self.aligned_at("at_positive")
        first = self.own_rows.start + offset - self.own_cols.start
        return column_values[first : first + self.own_rows.stop - self.own_rows.start]

    def aligned_at(self, what: str) -> int:
        """How far row i's one positive lies from column i, always the same. Raises DataError where pairs are not aligned."""
        if self.positive.offset is None:
            raise DataError(f"{what} needs aligned pairs, one positive a row", remedy="use a loss for several positives")
        return self.positive.offset

    def require_negatives(self, loss: str) -> None:
        """Raise DegenerateBatchError where a row has nothing to be told apart from, so that the loss would be constant."""
        if self.shape[1] < 2:
            raise DegenerateBatchError(
                f"{loss}: needs at least one negative a row, but the batch holds a single key, so the loss could not learn",
                value=f"{self.shape[0]} queries, {self.shape[1]} keys",
                remedy="raise batch_size to 2 or more, drop the last incomplete batch, or add negatives",
            )
