"""The vectors a term over embeddings reads, in the precision statistics are kept in.

A term sees ``queries`` and ``keys``, where there are keys; hard negatives are rows of another kind and are left out.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dipole.core.encoded import Encoded
from dipole.core.errors import DataError, DegenerateBatchError
from dipole.core.vectors import wide

READS = ("pooled", "pre_norm")


def each_side(sides: Mapping[str, Encoded], term: str, least: int = 2) -> list[torch.Tensor]:
    """(B, d) of each side, before normalisation where the encoder keeps that; at least ``least`` items."""
    return _enough([wide(side.unnormalised) for side in _sides(sides)], term, least)


def pooled_sides(sides: Mapping[str, Encoded], term: str, least: int = 2) -> list[torch.Tensor]:
    """(B, d) of each side as losses see it; at least ``least`` items."""
    return _enough([wide(side.pooled) for side in _sides(sides)], term, least)


def logits_of(sides: Mapping[str, Encoded], term: str, least: int = 2) -> list[torch.Tensor]:
    """(B, C) logits of each side. Raises DataError where the encoder returns none."""
    found = []
    for side in _sides(sides):
        if side.logits is None:
            raise DataError(f"{term}: reads logits, but the encoder returns none", remedy="use an encoder with a classifier on top")
        found.append(wide(side.logits))
    return _enough(found, term, least)


def meta_of(sides: Mapping[str, Encoded], term: str, name: str) -> list[torch.Tensor]:
    """A further tensor of each side, from the encoder or the views. Raises DataError where a side has none."""
    for side in _sides(sides):
        if name not in side.meta:
            known = ", ".join(sorted(side.meta)) or "nothing"
            raise DataError(
                f"{term}: reads meta[{name!r}] of every side, but there is {known}", remedy="use an encoder or views that give it"
            )
        if len(side.meta[name]) != len(side):
            raise DataError(f"{term}: {name} must be one value each, {len(side)}", value=tuple(side.meta[name].shape))
    return [side.meta[name] for side in _sides(sides)]


def tokens_of(sides: Mapping[str, Encoded], name: str, term: str) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, L, d) tokens of one side and their (B, L) mask. Raises DataError where the side is missing or has none."""
    side = sides.get(name)
    if side is None or side.tokens is None or side.mask is None:
        remedy = "use views that give the side, and an encoder that returns tokens"
        raise DataError(f"{term}: reads tokens and mask of {name}, which has none", remedy=remedy)
    return wide(side.tokens), side.mask


def foreground(sides: Mapping[str, Encoded], term: str) -> list[torch.Tensor]:
    """(B, e) ``meta["salient"]`` of each side, 0 for items of the background (``meta["label"]`` 0), where labels are known."""
    codes = [wide(s) for s in meta_of(sides, term, "salient")]
    if not all("label" in side.meta for side in _sides(sides)):
        return codes
    return [s * (y != 0)[:, None] for s, y in zip(codes, meta_of(sides, term, "label"), strict=True)]


def _sides(sides: Mapping[str, Encoded]) -> list[Encoded]:
    return [sides[name] for name in ("queries", "keys") if name in sides]


def _enough(found: list[torch.Tensor], term: str, least: int) -> list[torch.Tensor]:
    for vectors in found:
        if len(vectors) < least:
            raise DegenerateBatchError(
                f"{term}: a statistic over the batch needs at least {least} items", value=len(vectors), remedy="raise batch_size"
            )
    return found


def both_sides(sides: Mapping[str, Encoded], term: str, least: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """The same for two sides whose items belong together one by one."""
    found = each_side(sides, term, least)
    if len(found) != 2 or found[0].shape != found[1].shape:
        raise DataError(
            f"{term}: needs queries and keys that belong together one by one",
            value=[tuple(v.shape) for v in found],
            remedy="use views that give pairs, such as aligned or same_twice",
        )
    return found[0], found[1]
