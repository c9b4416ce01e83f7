"""Twin teacher: what the momentum encoder sees in the same candidates becomes a teacher's channel of scores.

    u_ij = s(twin(query_i), twin(key_j));   further columns (a queue of the twin's vectors, hard negatives) are taken as they are

Shapes: channel ``teacher`` over the N queries and all M columns, by the pairs' own score, without gradient. List it behind a queue, so
that the queue's columns are scored too. Source: ALBEF, arXiv:2107.07651, section 3.2. Relation: ``distilled`` learns from the
channel, ``without_similar`` masks by it.
Errors: UsageError where no encoder has a twin: list ``momentum`` behind the encoder.

>>> eye = torch.eye(2)
>>> sorted(TwinTeacher().extend(Pairs.aligned(eye, eye), {"queries_twin": eye, "keys_twin": eye}, {}).channels)
['teacher']
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from dipole.core.errors import UsageError
from dipole.core.pairs import Pairs
from dipole.core.part import part
from dipole.core.scores import Channel
from dipole.core.vectors import Vectors, concatenate, cut, side_length

__all__ = ["TwinTeacher"]


@part
class TwinTeacher:
    """Adds the channel ``teacher``."""

    asks = {"queries_twin": "queries", "keys_twin": "keys"}  # noqa: RUF012

    def extend(self, pairs: Pairs, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor]) -> Pairs:
        """The pairs with the twin's scores beside their own."""
        if "queries_twin" not in sides or "keys_twin" not in sides:
            raise UsageError('twin_teacher: there is no twin; list { use = "momentum" } behind the encoder')
        queries, keys = _still(sides["queries_twin"]), _still(sides["keys_twin"])
        rest = _still(cut(pairs.keys, slice(side_length(keys), side_length(pairs.keys))))
        teacher = Channel(queries, concatenate(keys, rest) if side_length(rest) else keys, pairs.score)
        return replace(pairs, channels={**pairs.channels, "teacher": teacher})

    def update(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor]) -> None:
        """Nothing is kept."""


def _still(vectors: Vectors) -> Vectors:
    return vectors.detach() if isinstance(vectors, torch.Tensor) else tuple(v.detach() for v in vectors)
