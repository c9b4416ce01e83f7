"""A ``Pairs`` from another side: keys ask, or one side among itself. What the methods of ``Pairs`` of the same purpose do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from dipole.core.errors import DataError
from dipole.core.ranks import Ring
from dipole.core.relations import Diagonal, Match
from dipole.core.scores import Score, flipped
from dipole.core.vectors import cut, side_length

if TYPE_CHECKING:
    from dipole.core.pairs import Pairs


def turned(pairs: Pairs) -> Pairs:
    """See ``Pairs.reversed``."""
    return replace(
        pairs,
        queries=pairs.keys,
        keys=pairs.queries,
        score=flipped(pairs.score),
        positive=pairs.positive.flipped(),
        excluded=tuple(r.flipped() for r in pairs.excluded),
        duplicates=tuple(r.flipped() for r in pairs.duplicates),
        rows=pairs.cols,
        cols=pairs.rows,
        channels={name: channel.flipped() for name, channel in pairs.channels.items()},
        local=None if pairs.local is None else (pairs.local[1], pairs.local[0]),
        ring=None if pairs.ring is None else pairs.ring.flipped(),
    )


def answers(pairs: Pairs) -> Pairs:
    """See ``Pairs.answers``."""
    if pairs.aligned_at("answers") != 0:
        raise DataError("answers: row i's positive must be column i", value=pairs.positive.offset)
    n, back = side_length(pairs.queries), turned(pairs)
    if n == side_length(pairs.keys):
        return back
    first = slice(0, n)
    return replace(
        back,
        queries=cut(back.queries, first),
        rows={name: t[first] for name, t in back.rows.items()},
        channels={name: replace(c, queries=cut(c.queries, first)) for name, c in back.channels.items()},
    )


def among(pairs: Pairs, side: str, score: Score | None) -> Pairs:
    """See ``Pairs.among``."""
    if side not in ("queries", "keys"):
        raise DataError("among: side must be queries or keys", value=side)
    vectors = pairs.queries if side == "queries" else pairs.keys
    length = pairs.shape[0] if side == "queries" else pairs.shape[1]
    ring = pairs.ring if pairs.ring is None or side == "queries" else pairs.ring.flipped()
    nobody = torch.full((length,), -1, device=pairs.device)
    return type(pairs)(
        vectors,
        vectors,
        Match(nobody, nobody),
        score or pairs.score,
        excluded=(Diagonal(0, length, device=pairs.device),),
        ring=None if ring is None else Ring(ring.rank, ring.row_starts, ring.row_starts),
    )
