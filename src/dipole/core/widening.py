"""Further columns for a ``Pairs``: what ``Pairs.with_negatives`` does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from dipole.core.errors import DataError
from dipole.core.relations import Match, Owned
from dipole.core.vectors import Vectors, concatenate, one_each, side_length

if TYPE_CHECKING:
    from dipole.core.pairs import Pairs


def widened(
    pairs: Pairs,
    vectors: Vectors,
    owner: torch.Tensor | None,
    copy_of: torch.Tensor | None,
    cols: Mapping[str, torch.Tensor],
    channels: Mapping[str, Vectors],
) -> Pairs:
    """``pairs`` with the columns appended; see ``Pairs.with_negatives``."""
    if pairs.ring is not None:
        raise DataError("with_negatives: a ring's columns are those its ranks hold", remedy="gather instead, or make them keys")
    n, m = pairs.shape
    k = side_length(vectors)
    for name, rows in (("owner", owner), ("copy_of", copy_of)):
        if rows is not None and len(rows) and not (-1 <= int(rows.min()) and int(rows.max()) < n):
            raise DataError(f"with_negatives: {name} must be rows from -1 to {n - 1}", value=(int(rows.min()), int(rows.max())))
    keys = concatenate(pairs.keys, vectors)
    excluded = tuple(r.widened(k) for r in pairs.excluded)
    if owner is not None:
        one_each("with_negatives: owner", owner, k)
        excluded += (Owned(torch.cat([owner.new_full((m,), -1), owner])),)
    if copy_of is not None:
        one_each("with_negatives: copy_of", copy_of, k)
        excluded += (Match(torch.arange(n, device=copy_of.device), torch.cat([copy_of.new_full((m,), -1), copy_of])),)
    for name, tensor in pairs.cols.items():
        if name not in cols and (tensor.is_floating_point() or tensor.dtype == torch.bool):
            raise DataError(f"with_negatives: what is {name!r} of the new columns?", remedy=f"give cols={{{name!r}: ...}}, one value each")
    more = {name: cols.get(name, t.new_full((k, *t.shape[1:]), -1)) for name, t in pairs.cols.items()}
    for name in pairs.channels:
        if name not in channels:
            raise DataError(
                f"with_negatives: what are the new columns in channel {name!r}?", remedy=f"give channels={{{name!r}: ...}}, one vector each"
            )
    return replace(
        pairs,
        keys=keys,
        positive=pairs.positive.widened(k),
        excluded=excluded,
        duplicates=tuple(r.widened(k) for r in pairs.duplicates),
        channels={name: replace(c, keys=concatenate(c.keys, channels[name])) for name, c in pairs.channels.items()},
        cols={name: torch.cat([t, more[name]]) for name, t in pairs.cols.items()},
    )
