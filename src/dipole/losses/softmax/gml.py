"""GML: a softmax over classes, each as near as its keys are on average, with the classes' shares added: rare classes are not drowned.

    l_i = L_i(features learn, t held) + L_i'(t learns, features held)                                  one value per query, nats
    L_i = -(S_iy + log pi_y) + log sum_c pi_c exp(S_ic),   S_ic = log mean_{j in class c} exp(s_ij / t)

c runs over the classes that have a key. L' is L without the keys of the query's own image (equal ``id`` in ``rows`` and ``cols``), so
where there are no such keys the value is twice L. The mean over rows is the authors' L_con + L_con_T.

Shapes: N queries, M keys, ``rows["label"]`` and ``cols["label"]`` from 0 to C - 1 (``labelled`` views, a queue of labelled keys).
Source: "Long-Tailed Recognition by Mutual Information Maximization", arXiv:2305.01160; t starts at 1 there.
Relation: with one key a class and equal shares, cross-entropy over keys. SupCon sums over a class, and so moves when its keys are repeated.
Rows whose class has no other key have value 0 and no gradient. Errors: DegenerateBatchError where that is every row; ParameterError where
``prior`` is shorter than the labels ask for; DataError without labels.

>>> import torch
>>> from dipole import Pairs
>>> pairs = Pairs.labelled(torch.eye(2), torch.tensor([0, 1]), torch.eye(2), torch.tensor([0, 1]))
>>> GML()(pairs).detach()  # twice 0.3133
tensor([0.6265, 0.6265])
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import nn

from dipole.core.errors import DegenerateBatchError
from dipole.core.pairs import Pairs
from dipole.core.part import numbers, part, positive
from dipole.core.prior import log_prior
from dipole.core.relations import Match
from dipole.core.requirements import metadata
from dipole.core.vectors import one_tensor
from dipole.pairwise import Count, LogSumExp, Tile, reduce

__all__ = ["GML"]


@part
class GML(nn.Module):
    """Class-wise mean similarities under a prior, in nats per query."""

    temperature: float = positive(1.0, "where the learned temperature starts")
    prior: tuple[float, ...] = numbers(about="pi: how often each class is in the data, as counts or shares; left out: all alike")

    def __post_init__(self) -> None:
        self.log_temperature = nn.Parameter(torch.tensor(math.log(self.temperature)))

    def forward(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        still = replace(pairs, queries=one_tensor(pairs.queries, "gml").detach(), keys=one_tensor(pairs.keys, "gml").detach())
        if "id" in pairs.rows and "id" in pairs.cols:
            still = replace(still, excluded=(*still.excluded, Match(pairs.rows["id"], pairs.cols["id"])))
        temperature = self.log_temperature.exp()
        return self._of(pairs, temperature.detach()) + self._of(still, temperature)

    def _of(self, pairs: Pairs, temperature: torch.Tensor) -> torch.Tensor:
        labels = metadata("GML", "label", pairs.rows)[pairs.own_rows]
        metadata("GML", "label", pairs.cols)

        def terms(tile: Tile) -> Mapping[str, torch.Tensor]:
            logits = tile.scores / tile.params["t"]
            return {"logits": logits, "one": torch.ones_like(logits)}

        stats = reduce(
            terms,
            pairs,
            params={"t": temperature},
            near=LogSumExp("rows", of="logits", by="label"),
            keys=Count("rows", of="one", by="label"),
        )
        classes = max(stats.near.shape[1], int(labels.max()) + 1)
        shares = log_prior("gml", self.prior, max(classes, len(self.prior))).to(stats.near)
        near = stats.near - stats.keys.clamp(min=1).log() + shares[: stats.near.shape[1]]
        own = near.gather(1, labels.clamp(0, near.shape[1] - 1)[:, None]).squeeze(1)
        there = (labels >= 0) & (labels < near.shape[1]) & own.isfinite()
        if pairs.local is None and pairs.ring is None and not bool(there.any()):
            raise DegenerateBatchError(
                "GML: no row's class has another key in the batch",
                value=f"{pairs.shape[0]} rows",
                remedy="raise batch_size, or add a queue",
            )
        return torch.where(there, near.logsumexp(1) - own.where(there, 0.0), 0.0)
