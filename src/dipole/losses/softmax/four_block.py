"""Four-block InfoNCE: queries and keys of the whole batch, all four ways, share one normaliser.

    l_i = -s(q_i, k_i) / t + log Z_i      one value per query, nats
    Z_i = sum_j e^(s(q_i, k_j) / t) + sum_j e^(s(q_j, k_i) / t) + sum_{j != i} e^(s(q_i, q_j) / t) + sum_{j != i} e^(s(k_j, k_i) / t)

Shapes: N queries, M >= N keys, aligned; further keys (hard negatives) are in the first and the last sum.
Source: arXiv:2308.03281, section 3.
Relation: without the last three sums, InfoNCE; without the second, both views as candidates. The positive pair is in Z twice, so
the value is never below log 2; equal vectors give log(4N - 2). Copies (equal ids) are left out of all four sums.
Errors: DegenerateBatchError on a single key.

>>> import torch
>>> from dipole import Pairs
>>> FourBlock(temperature=1.0)(Pairs.aligned(torch.ones(5, 2), torch.ones(5, 2)))[0].exp().round()
tensor(18.)
"""

from __future__ import annotations

from dataclasses import replace

import torch

from dipole.core.pairs import Pairs
from dipole.core.part import part, positive
from dipole.core.relations import Diagonal, Match
from dipole.core.vectors import Vectors, cut
from dipole.pairwise import LogSumExp, Tile, logsumexp_rows, reduce

__all__ = ["FourBlock"]


@part
class FourBlock:
    """Softmax over query-key, key-query, query-query and key-key scores together, in nats per query."""

    temperature: float = positive(0.01, "scores are divided by it")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        pairs.require_negatives("FourBlock")
        positives = pairs.positive_scores() / self.temperature

        def logits(tile: Tile) -> torch.Tensor:
            return tile.logits(self.temperature)

        stats = reduce(logits, pairs, rows=LogSumExp("rows"), cols=LogSumExp("cols"))
        answers = cut(pairs.keys, slice(0, len(stats.rows))) if pairs.ring is not None else cut(pairs.keys, slice(0, pairs.shape[0]))
        queries = logsumexp_rows(logits, _against_itself(pairs, pairs.queries, pairs.queries))
        keys = logsumexp_rows(logits, _against_itself(pairs, answers, pairs.keys))
        blocks = torch.stack([stats.rows, pairs.at_positive(stats.cols), queries, keys])
        return blocks.logsumexp(0) - positives


def _against_itself(pairs: Pairs, asking: Vectors, candidates: Vectors) -> Pairs:
    """Items against their own kind: nothing against itself or a copy of what belongs to it, hard negatives by owner as in ``pairs``."""
    n = pairs.shape[0]
    nobody = torch.full((n,), -1, device=pairs.device)
    left_out = (Diagonal(0, n, device=pairs.device), *pairs.excluded, *pairs.duplicates)
    return replace(
        pairs,
        queries=asking,
        keys=candidates,
        positive=Match(nobody, nobody),
        excluded=left_out,
        duplicates=(),
        rows={},
        cols={},
        channels={},
        weighing=(),
    )
