"""Exact nearest neighbours by the engine: the floor of search, mining, kNN and retrieval metrics."""

from __future__ import annotations

import torch

from dipole.core.pairs import Pairs
from dipole.core.scores import Score
from dipole.core.vectors import Vectors
from dipole.pairwise.reduce import reduce
from dipole.pairwise.reductions import Top, TopK
from dipole.pairwise.tile import scores_as_they_are


def topk_search(queries: Vectors, keys: Vectors, k: int, score: Score | None = None) -> Top:
    """The ``k`` best keys of each query: ``values`` (N, k), best first, and ``ids`` (N, k) int64, -1 where keys ran out.

    Equal scores are ordered by id. Memory is O(N k) beyond a bounded workspace.

    >>> topk_search(torch.eye(2), torch.tensor([[1.0, 0.0], [0.5, 0.5]]), k=1).ids.tolist()
    [[0], [1]]
    """
    nobody = torch.full((len(queries) if isinstance(queries, torch.Tensor) else len(queries[0]),), -1, dtype=torch.int64)
    nobody = nobody.to(queries.device if isinstance(queries, torch.Tensor) else queries[0].device)
    m = len(keys) if isinstance(keys, torch.Tensor) else len(keys[0])
    pairs = Pairs.labelled(queries, nobody, keys, nobody.new_full((m,), -1), score=score)
    with torch.no_grad():
        top: Top = reduce(scores_as_they_are, pairs, it=TopK("rows", k=k)).it
    return top
