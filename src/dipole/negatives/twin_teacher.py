"""Twin teacher: what the momentum encoder sees in the same candidates becomes a teacher's channel of scores.

    u_ij = s(twin(query_i), twin(key_j));   further columns (a queue of the twin's vectors, hard negatives) are taken as they are

Shapes: channel ``teacher`` over the N queries and all M columns, by the pairs' own score, without gradient. List it behind a queue, so
that the queue's columns are scored too. Source: ALBEF, arXiv:2107.07651, momentum distillation. Relation: ``distilled`` learns from the
channel, ``without_similar`` masks by it. Where live vectors are compared with the twin's (ALBEF), there is one of it for each of the
two directions, and ``joins`` tells them apart.
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
from dipole.core.part import names, part, words
from dipole.core.scores import Channel
from dipole.core.vectors import Vectors, concatenate, cut, side_length

__all__ = ["TwinTeacher"]


@part
class TwinTeacher:
    """Adds the channel ``teacher``."""

    asking: str = words("queries", "the side that asks")
    answering: str = words("keys", "the side that answers")
    joins: tuple[str, ...] = names((), "the comparisons it extends, by the side that answers; left out: all")

    @property
    def asks(self) -> Mapping[str, str]:
        """The sides of the twin."""
        return {f"{side}_twin": side for side in (self.asking, self.answering)}

    def extend(self, pairs: Pairs, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor]) -> Pairs:
        """The pairs with the twin's scores beside their own."""
        if not set(self.asks) <= set(sides):
            raise UsageError('twin_teacher: there is no twin; list { use = "momentum" } behind the encoder')
        queries, keys = (_still(sides[side]) for side in self.asks)
        rest = _still(cut(pairs.keys, slice(side_length(keys), side_length(pairs.keys))))
        teacher = Channel(queries, concatenate(keys, rest) if side_length(rest) else keys, pairs.score)
        return replace(pairs, channels={**pairs.channels, "teacher": teacher})

    def update(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor]) -> None:
        """Nothing is kept."""


def _still(vectors: Vectors) -> Vectors:
    return vectors.detach() if isinstance(vectors, torch.Tensor) else tuple(v.detach() for v in vectors)
