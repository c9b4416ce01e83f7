"""The last vectors seen, with what is known of each; and how they become columns.

Buffers: ``vectors`` (size, d), ``id``, ``label`` (size,) int64 (-1: unknown), ``seen``, how many were ever put in, and
``steps``, how often. The oldest is replaced first. d is that of the first vectors; a checkpoint brings its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import nn

from dipole.core.errors import DataError, UsageError
from dipole.core.pairs import Pairs
from dipole.core.relations import Listed, Match, Relation, copies
from dipole.core.vectors import Vectors, one_tensor

Meta = Mapping[str, torch.Tensor]


class Memory(nn.Module):
    """A ring of ``size`` vectors. Raises DataError where another dimension is put in or compared."""

    vectors: torch.Tensor
    id: torch.Tensor
    label: torch.Tensor
    seen: torch.Tensor
    steps: torch.Tensor

    def __init__(self, size: int, part: str) -> None:
        super().__init__()
        self.size, self.part = size, part
        self.register_buffer("vectors", torch.zeros(size, 0))
        for name in ("id", "label"):
            self.register_buffer(name, torch.full((size,), -1, dtype=torch.int64))
        for name in ("seen", "steps"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64))

    def __len__(self) -> int:
        return min(int(self.seen), self.size)

    @torch.no_grad()
    def push(self, vectors: torch.Tensor, ids: torch.Tensor | None = None, labels: torch.Tensor | None = None) -> None:
        """Take (n, d) vectors in; of more than fit, the last."""
        if self.vectors.shape[1] == 0:
            self.vectors = vectors.new_zeros(self.size, vectors.shape[1])
        fits(self.part, self.vectors, vectors)
        n, start = len(vectors), int(self.seen)
        kept = slice(max(0, n - self.size), n)
        at = torch.arange(start + kept.start, start + n, device=vectors.device) % self.size
        self.vectors[at] = vectors[kept].to(self.vectors.dtype)
        for mine, given in ((self.id, ids), (self.label, labels)):
            mine[at] = -1 if given is None else given[kept]
        self.seen += n
        self.steps += 1

    @property
    def held(self) -> Held:
        """What is in it now."""
        count = len(self)
        return Held(self.vectors[:count], self.id[:count], self.label[:count])

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        widen(self, "vectors", state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *rest)


class Held(NamedTuple):
    """K vectors with what is known of them: ``vectors`` (K, d), ``id`` and ``label`` (K,)."""

    vectors: torch.Tensor
    id: torch.Tensor
    label: torch.Tensor


def widen(module: nn.Module, name: str, state_dict: Mapping[str, Any], prefix: str) -> None:
    """Give an empty (n, 0) buffer the dimension it has in a checkpoint."""
    given, own = state_dict.get(prefix + name), module.get_buffer(name)
    if given is not None and own.shape[1] == 0 and given.shape[:1] == own.shape[:1]:
        setattr(module, name, torch.zeros_like(given, device=own.device))


def joined(part: str, pairs: Pairs, held: Held, side: str, meta: Meta) -> Pairs:
    """The pairs with what is held as further columns, every row's negatives.

    Content decides what is none: what a row's own item of ``side`` equals is left out for that row. Where positives are told
    by label, what shares a row's label is positive. Raises DataError for another dimension than the keys'.
    """
    if not len(held.id):
        return pairs
    keys = one_tensor(pairs.keys, part)
    fits(part, held.vectors, keys)
    ids = torch.cat([held.id.new_full((pairs.shape[1],), -1), held.id])
    labels = {"label": held.label} if "label" in pairs.cols else {}
    wider = pairs.with_negatives(held.vectors.to(keys.dtype), cols=labels)
    if isinstance(pairs.positive, Match) and labels:
        wider = replace(wider, positive=Match(pairs.rows["label"], wider.cols["label"], pairs.positive.others_only))
    return replace(wider, duplicates=(*wider.duplicates, *_copies(side, meta, ids)))


def fits(part: str, held: torch.Tensor, vectors: torch.Tensor) -> None:
    """Raise DataError unless both have one d."""
    if vectors.shape[1] != held.shape[1]:
        rule = f"{part}: holds vectors of {held.shape[1]} dimensions, the encoder gives others"
        raise DataError(rule, value=vectors.shape[1], remedy="start a new run, or go on with the encoder it was filled by")


def side_of(part: str, of: str, sides: Mapping[str, Vectors]) -> torch.Tensor:
    """The (n, d) vectors of a side. Raises UsageError where there is no such side, DataError for token vectors."""
    if of not in sides:
        raise UsageError(f"{part}: there is no side {of!r} to keep; set of to one of {', '.join(sides)}")
    vectors = sides[of]
    if not isinstance(vectors, torch.Tensor):
        raise DataError(f"{part}: keeps one vector an item, not token vectors", remedy="use a score over pooled vectors")
    return vectors


def known_of(side: str, meta: Meta) -> dict[str, torch.Tensor | None]:
    """Content ids and labels of a side's items, as :meth:`Memory.push` takes them."""
    return {"ids": meta.get(f"{side}.id"), "labels": meta.get(f"{side}.label", meta.get(f"{side}.group"))}


def _copies(side: str, meta: Meta, ids: torch.Tensor) -> list[Relation]:
    """Which columns hold the content of a row's own items of ``side``."""
    if f"{side}.group" in meta:
        row, col = copies(meta["queries.id"], meta[f"{side}.group"], meta[f"{side}.id"], ids)
        return [Listed.of(row, col, torch.ones_like(row, dtype=torch.float32))]
    return [Match(meta[f"{side}.id"], ids)] if f"{side}.id" in meta else []
