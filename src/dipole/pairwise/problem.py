"""``Problem``: a tile function, its tensors and the reductions asked for, in the form every backend reads.

All tensors a gradient may reach lie in one flat list, so that an autograd function can take them; ``Layout`` says which
is which. The rest of the problem (relations, plain metadata, the tile function) never needs a gradient.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from dipole.core.errors import EngineError
from dipole.core.pairs import Pairs
from dipole.core.relations import Relation
from dipole.core.scores import Channel, Score, factors_of
from dipole.core.vectors import side_length, wide
from dipole.pairwise.reductions.base import Reduction, Spot
from dipole.pairwise.tile import Tile, TileFunction


@dataclass(frozen=True)
class Slot:
    """What one tensor of the flat list is."""

    kind: str  # "row" and "col" are cut along their axis; "param" is whole; "left" and "right" make products
    name: str  # channel, metadata or parameter


@dataclass(frozen=True, eq=False)
class Problem:
    """See the module. ``rows`` / ``cols`` is the part of the matrix this pass covers."""

    fn: TileFunction
    pairs: Pairs
    scores: Mapping[str, Score]  # "" is the pairs' own
    layout: tuple[Slot, ...]
    wanted: Mapping[str, Reduction]
    segments: Mapping[str, int]
    rows: slice
    cols: slice
    statistics: torch.dtype = torch.float32
    held: tuple[int, int] = (0, 0)  # global places of the first row and column that the tensors hold

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.stop - self.rows.start, self.cols.stop - self.cols.start

    def over(self, rows: slice, cols: slice, wanted: Mapping[str, Reduction]) -> Problem:
        return replace(self, rows=rows, cols=cols, wanted=wanted)

    def cut(self, tensors: Sequence[torch.Tensor], rows: slice, cols: slice) -> list[torch.Tensor]:
        """The blocks of all tensors that a tile reads, in statistics' precision except the factors of products."""
        blocks = [t if s.kind == "param" else t[self.place(s, rows, cols)] for s, t in zip(self.layout, tensors, strict=True)]
        return [
            b if s.kind in ("left", "right") or not b.is_floating_point() else wide(b) for s, b in zip(self.layout, blocks, strict=True)
        ]

    def place(self, slot: Slot, rows: slice, cols: slice) -> slice:
        """Where a tile's share lies in a tensor that is cut along rows or columns."""
        at, first = (rows, self.held[0]) if slot.kind in ("left", "row") else (cols, self.held[1])
        return slice(at.start - first, at.stop - first)

    def products(self, blocks: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """(n, m) matrix products of each left block with its right block, float32 or better."""
        left = [b for s, b in zip(self.layout, blocks, strict=True) if s.kind == "left"]
        right = [b for s, b in zip(self.layout, blocks, strict=True) if s.kind == "right"]
        return [product(a, b) for a, b in zip(left, right, strict=True)]

    def tile(self, products: Sequence[torch.Tensor], blocks: Sequence[torch.Tensor], rows: slice, cols: slice) -> Tile:
        """The tile at (rows, cols) from its products and blocks."""
        known = self.metadata(rows, cols)
        return assemble(self.layout, self.scores, products, blocks, *known, (rows, cols), self.pairs.positive, self.pairs.weighing)

    def metadata(self, rows: slice, cols: slice) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """The tile's share of the metadata that carries no gradient, (n, 1, ...) and (1, m, ...)."""
        tracked = {(slot.kind, slot.name) for slot in self.layout}
        row_meta = {name: t[rows, None] for name, t in self.pairs.rows.items() if ("row", name) not in tracked}
        return row_meta, {name: t[None, cols] for name, t in self.pairs.cols.items() if ("col", name) not in tracked}

    def keep(self, tile: Tile) -> torch.Tensor | None:
        """(n, m) bool: the entries that count; None where all do."""
        excluded = self.excluded(*tile.at, tile.positive_or_none if self.pairs.duplicates else None)
        return None if excluded is None else ~excluded

    def excluded(self, rows: slice, cols: slice, positive: torch.Tensor | None) -> torch.Tensor | None:
        """(n, m) bool: the entries that do not count; None where all do. ``positive`` spares duplicates."""
        masks = [r.tile(rows, cols) for r in self.pairs.excluded]
        for relation in self.pairs.duplicates:
            mask = relation.tile(rows, cols)
            masks.append(mask if mask is None or positive is None else mask & ~positive)
        given = [m for m in masks if m is not None]
        return functools.reduce(torch.logical_or, given) if given else None

    def terms(self, tile: Tile) -> dict[str, torch.Tensor]:
        """What the tile function returns, by name, checked."""
        returned = self.fn(tile)
        terms = {"": returned} if isinstance(returned, torch.Tensor) else dict(returned)
        shape = (tile.at[0].stop - tile.at[0].start, tile.at[1].stop - tile.at[1].start)
        for name, term in terms.items():
            if term.shape != shape:
                try:
                    terms[name] = term.expand(shape)
                except RuntimeError:
                    raise EngineError(
                        f"a tile function must return one value per entry, shape {shape}; term {name!r} has shape {tuple(term.shape)}"
                    ) from None
            if term.is_floating_point():
                terms[name] = terms[name].to(self.statistics)
        for name, reduction in self.wanted.items():
            if reduction.of not in terms:
                have = ", ".join(repr(n) for n in terms if n) or "one unnamed term"
                raise EngineError(f"{name}: no term named {reduction.of!r}; the tile function returns {have}")
            if reduction.differentiable and not terms[reduction.of].is_floating_point():
                raise EngineError(
                    f"{name}: a {type(reduction).__name__} needs floating-point terms, got {terms[reduction.of].dtype}; use Count for masks"
                )
        return terms

    def spot(self, tile: Tile, reduction: Reduction) -> Spot:
        """Where the tile's results go."""
        return self.spot_at(*tile.at, reduction)

    def spot_at(self, rows: slice, cols: slice, reduction: Reduction) -> Spot:
        """Where the results of the tile at (rows, cols) go."""
        segments = None
        if reduction.by:
            meta, at = (self.pairs.cols, cols) if reduction.axis == "rows" else (self.pairs.rows, rows)
            segments = meta[reduction.by][at]
        return Spot(
            slice(rows.start - self.rows.start, rows.stop - self.rows.start),
            slice(cols.start - self.cols.start, cols.stop - self.cols.start),
            cols,
            rows,
            segments,
        )


def assemble(
    layout: tuple[Slot, ...],
    scores: Mapping[str, Score],
    products: Sequence[torch.Tensor],
    blocks: Sequence[torch.Tensor],
    row_meta: dict[str, torch.Tensor],
    col_meta: dict[str, torch.Tensor],
    at: tuple[slice, slice],
    relation: Relation,
    weighing: tuple[str, ...],
    index: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> Tile:
    """A tile from its tensors."""
    of_score: dict[str, tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]]] = {n: ([], [], []) for n in scores}
    params: dict[str, torch.Tensor] = {}
    taken = 0
    for slot, block in zip(layout, blocks, strict=True):
        if slot.kind == "left":
            of_score[slot.name][0].append(products[taken])
            taken += 1
        elif slot.kind == "param":
            params[slot.name] = block
        elif slot.kind == "row" and slot.name.startswith("@"):
            of_score[slot.name[1:]][1].append(block)
        elif slot.kind == "col" and slot.name.startswith("@"):
            of_score[slot.name[1:]][2].append(block)
        elif slot.kind == "row":
            row_meta[slot.name] = block[:, None]
        elif slot.kind == "col":
            col_meta[slot.name] = block[None, :]
    scored = {name: score.tile(*(tuple(part) for part in of_score[name])) for name, score in scores.items()}
    own = scored.pop("")
    return Tile(own, row_meta, col_meta, params, scored, at, relation, weighing, index)


def build(
    fn: TileFunction,
    pairs: Pairs,
    wanted: Mapping[str, Reduction],
    params: Mapping[str, torch.Tensor],
    channels: Mapping[str, Channel],
) -> tuple[Problem, list[torch.Tensor]]:
    """The problem and its flat list of tensors.

    Everything that costs O(N + M) (normalising, projecting) happens here, under ordinary autograd.
    """
    layout: list[Slot] = []
    tensors: list[torch.Tensor] = []
    n, m = side_length(pairs.queries), side_length(pairs.keys)

    def put(kind: str, name: str, tensor: torch.Tensor, length: int | None) -> None:
        if length is not None and len(tensor) != length:
            raise EngineError(f"{kind} tensor {name!r} must have {length} entries, got {len(tensor)}")
        layout.append(Slot(kind, name))
        tensors.append(tensor)

    channels = {**pairs.channels, **channels}
    scores: dict[str, Score] = {"": pairs.score, **{name: c.score for name, c in channels.items()}}
    for name, score in scores.items():
        sides = (pairs.queries, pairs.keys) if name == "" else (channels[name].queries, channels[name].keys)
        factors = factors_of(score, *sides)
        for left, right in factors.products:
            if not left.is_floating_point():
                raise EngineError(f"scores need floating-point vectors, got {left.dtype}; convert them first")
            put("left", name, left, n)
            put("right", name, right, m)
        for tensor in factors.rows:
            put("row", "@" + name, tensor, n)
        for tensor in factors.cols:
            put("col", "@" + name, tensor, m)
    for name, tensor in pairs.rows.items():
        if tensor.requires_grad:
            put("row", name, tensor, n)
    for name, tensor in pairs.cols.items():
        if tensor.requires_grad:
            put("col", name, tensor, m)
    for name, tensor in params.items():
        put("param", name, tensor, None)
    double = any(t.dtype == torch.float64 and (t.dim() > 0 or s.kind != "param") for s, t in zip(layout, tensors, strict=True))
    statistics = torch.float64 if double else torch.float32
    segments = {}
    for key, reduction in wanted.items():
        if reduction.by:
            meta = pairs.cols if reduction.axis == "rows" else pairs.rows
            if reduction.by not in meta:
                raise EngineError(f"{key}: no metadata {reduction.by!r} on the reduced axis; known: {', '.join(meta) or 'none'}")
            if int(meta[reduction.by].min()) < 0:
                raise EngineError(
                    f"{key}: segments {reduction.by!r} must be numbered from 0",
                )
            segments[key] = int(meta[reduction.by].max()) + 1
    if pairs.ring is not None:
        rows, cols = pairs.own_rows, pairs.own_cols
        return Problem(fn, pairs, scores, tuple(layout), wanted, segments, rows, cols, statistics, (rows.start, cols.start)), tensors
    return Problem(fn, pairs, scores, tuple(layout), wanted, segments, slice(0, n), slice(0, m), statistics), tensors


def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a b^T in float32 or better; half-precision inputs are multiplied as they are where the device accumulates wide."""
    tracked = torch.is_grad_enabled() and (a.requires_grad or b.requires_grad)  # the mixed product has no derivative of its own
    if a.dtype == b.dtype and a.dtype in (torch.bfloat16, torch.float16) and a.is_cuda and not tracked:
        return torch.mm(a, b.T, out_dtype=torch.float32)
    kind = torch.promote_types(wide(a).dtype, wide(b).dtype) if a.dtype != b.dtype else wide(a).dtype
    return torch.mm(a.to(kind), b.to(kind).T)
