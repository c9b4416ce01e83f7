"""Twin views: what the momentum encoder makes of both views stands beside the pairs, as a channel of scores of its own.

    u_ij = s(twin(query_i), twin(key_j))      for the aligned columns; other columns keep the vectors they have

Shapes: channel ``twin`` over the N queries and M columns, by the pairs' own score, without gradient. Source: BYOL, arXiv:2006.07733.
Relation: ``twin_teacher`` has the same scores under the name that distilling losses read, of any two sides; ``predicted_twin`` reads this
channel's vectors.
Errors: UsageError where no encoder has a twin: list ``momentum`` behind the encoder.

>>> eye = torch.eye(2)
>>> sorted(TwinViews().extend(Pairs.aligned(eye, eye), {"queries_twin": eye, "keys_twin": eye}, {}).channels)
['twin']
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from dipole.core.errors import UsageError
from dipole.core.pairs import Pairs
from dipole.core.part import part
from dipole.core.scores import Channel
from dipole.core.vectors import Vectors, one_tensor, side_length

__all__ = ["TwinViews"]


@part
class TwinViews:
    """Adds the channel ``twin``."""

    asks = {"queries_twin": "queries", "keys_twin": "keys"}  # noqa: RUF012

    def extend(self, pairs: Pairs, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor]) -> Pairs:
        """The pairs with the twin's vectors beside their own."""
        if not {"queries_twin", "keys_twin"} <= set(sides):
            raise UsageError('twin_views: there is no twin of both sides; list { use = "momentum", sides = [] } behind the encoder')
        queries, keys = (one_tensor(sides[side], "twin_views").detach() for side in ("queries_twin", "keys_twin"))
        further = one_tensor(pairs.keys, "twin_views").detach()[side_length(keys) :]
        channel = Channel(queries, torch.cat([keys, further.to(keys.dtype)]), pairs.score)
        return replace(pairs, channels={**pairs.channels, "twin": channel})

    def update(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor]) -> None:
        """Nothing is kept."""
