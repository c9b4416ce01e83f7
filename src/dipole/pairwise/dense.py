"""The whole matrix at once, by ordinary autograd: the engine's contract in its shortest form, and the oracle of its tests.

Costs O(N x M) memory. Tiny batches use it because nothing is faster there.
"""

from __future__ import annotations

from typing import Any

import torch

from dipole.pairwise.problem import Problem


def dense(problem: Problem, tensors: list[torch.Tensor]) -> dict[str, Any]:
    """Every wanted reduction of the problem's rows and columns."""
    rows, cols = problem.rows, problem.cols
    blocks = problem.cut(tensors, rows, cols)
    tile = problem.tile(problem.products(blocks), blocks, rows, cols)
    terms = problem.terms(tile)
    keep = problem.keep(tile)
    kept = torch.ones(problem.shape, dtype=torch.bool, device=tile.scores.device) if keep is None else keep
    results = {}
    for name, reduction in problem.wanted.items():
        segments = problem.spot(tile, reduction).segments
        results[name] = reduction.dense(terms[reduction.of], kept, segments, problem.segments.get(name, 0))
    return results
