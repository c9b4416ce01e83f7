"""Whether negatives are what they should be: the rate of false ones, and the worth of a set of hard ones before training on it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from dipole.core.errors import DataError, ParameterError
from dipole.core.pairs import Pairs
from dipole.core.vectors import leading
from dipole.diagnostics.vectors import sides, unit
from dipole.pairwise import Count, Tile, reduce


@dataclass(frozen=True)
class FalseNegatives:
    """``rate`` the share of negatives that are positives in truth; ``queries`` the share of queries that meet at least one."""

    rate: float
    queries: float


@torch.no_grad()
def false_negatives_by_ids(ids: torch.Tensor, batch_size: int) -> FalseNegatives:
    """How often random batches hold another row of the same item, class or document.

        rate = sum_c n_c (n_c - 1) / (N (N - 1)),    queries = mean_i [ 1 - C(N - n_i, B - 1) / C(N - 1, B - 1) ]

    exact for batches drawn without replacement; n_i counts the rows with row i's id, itself among them. The rate does not depend on
    the batch size, the share of queries grows with it.
    Range: 0 to 1.
    Healthy: 0, or ids handed to ``Pairs``, which leaves such columns out.
    Source: the collision probability of Arora et al. 2019, arXiv:1902.09229, section 4, without replacement.
    Cost: O(N log N).
    Shapes: ids (N,) int64, equal for equal content.
    Errors: DataError, ParameterError.

    >>> false_negatives_by_ids(torch.tensor([0, 0, 1, 2]), batch_size=4)
    FalseNegatives(rate=0.16666666666666666, queries=0.5)
    """
    if ids.dim() != 1 or len(ids) < 2 or ids.is_floating_point():
        raise DataError("false_negatives_by_ids: ids must be one whole number a row, for at least two rows", value=tuple(ids.shape))
    n = len(ids)
    if not (isinstance(batch_size, int) and 2 <= batch_size <= n):
        raise ParameterError("false_negatives_by_ids", "batch_size", f"a whole number from 2 to {n}, the rows there are", batch_size)
    sizes = ids.unique(return_counts=True)[1].double()
    rate = float((sizes * (sizes - 1)).sum()) / (n * (n - 1))

    def ways(total: torch.Tensor) -> torch.Tensor:  # log of total choose B - 1, -inf where there is none
        b = float(batch_size - 1)
        found = torch.lgamma(total + 1) - torch.lgamma((total - b).clamp(min=0) + 1) - math.lgamma(b + 1)
        return found.masked_fill(total < b, -math.inf)

    alone = (ways(n - sizes) - ways(torch.tensor(n - 1.0, dtype=torch.float64))).exp()
    return FalseNegatives(rate, float((sizes * (1 - alone)).sum()) / n)


@torch.no_grad()
def false_negatives_by_teacher(pairs: Pairs, ratio: float = 0.95) -> FalseNegatives:
    """How often a teacher finds a negative about as good as the positive.

        a negative j of query i counts where s_ij > ratio s_ii        s: cosine of the teacher's vectors

    Range: 0 to 1.
    Healthy: below about 1% of in-batch negatives; for mined negatives read it before training on them. An estimate: no better than
      the teacher.
    Source: the positive-aware threshold of Moreira et al. 2024, arXiv:2407.15831, section 4 (95% of the positive's score).
    Cost: O(N M d). ``pairs``: aligned pairs of the teacher's vectors; mined negatives, duplicates and exclusions are taken as the
      loss would. ``Pairs.aligned(x[:n], y)`` holds n queries against all keys.
    Shapes: vectors (N, d) and (M, d).
    Errors: DataError, ParameterError.
    """
    if not 0 < ratio <= 1:
        raise ParameterError("false_negatives_by_teacher", "ratio", "a number above 0, up to 1", ratio)
    pairs.require_negatives("false_negatives_by_teacher")
    queries, keys = (unit("false_negatives_by_teacher", leading(side), 1) for side in (pairs.queries, pairs.keys))
    pairs = replace(pairs, queries=queries, keys=keys)
    pairs = replace(pairs, rows={"bar": pairs.positive_scores() * ratio})

    def close(tile: Tile) -> dict[str, torch.Tensor]:
        others = tile.fill_positive(torch.ones_like(tile.scores), 0.0)
        return {"others": others, "close": others * (tile.scores > tile.rows["bar"])}

    found = reduce(close, pairs, others=Count("rows", of="others"), close=Count("rows", of="close"))
    others = int(found.others.sum())
    if not others:
        raise DataError("false_negatives_by_teacher: no query has a negative")
    return FalseNegatives(int(found.close.sum()) / others, float((found.close > 0).double().mean()))


@dataclass(frozen=True)
class Contrast:
    """``eci`` and its factors, means over queries: ``capacity`` log(1 + K), ``signal`` how near the negatives are, ``safety`` how far
    the hardest stays below the positive; ``unsafe`` the share of queries whose hardest negative reaches the positive."""

    eci: float
    capacity: float
    signal: float
    safety: float
    unsafe: float


@torch.no_grad()
def eci(queries: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor, owner: torch.Tensor) -> Contrast:
    """What a set of hard negatives is worth before training on it: effective contrastive information. Experimental.

        ECI = mean_i log(1 + K_i) 2 S_i M_i / (S_i + M_i),   S_i = mean_j s_ij,   M_i = clip(s_i+ - max_j s_ij, 0, 1)

    with s = (1 + cosine) / 2 of a frozen encoder.
    Range: 0 (no negative, or one that outscores the positive) upwards.
    Healthy: compare sets for the same queries, and read the factors: a high capacity can hide a low safety.
    Source: the ECI paper's abstract (2026); its exact terms could not be read, these are the simplest that agree with it, and a
      later version of the paper defines another measure and ranks sets differently: never choose by this figure alone.
    Cost: O(K d).
    Shapes: queries, positives (N, d), negatives (K, d) of all queries, owner (K,) int64 the query each belongs to.
    Errors: DataError.
    """
    queries, positives = sides("eci", queries, positives, 1)
    if owner.dim() != 1 or len(owner) != len(negatives) or owner.is_floating_point():
        raise DataError("eci: owner must be one query number a negative", value=(tuple(owner.shape), len(negatives)))
    if len(owner) and not 0 <= int(owner.min()) <= int(owner.max()) < len(queries):
        raise DataError(f"eci: owner must be queries from 0 to {len(queries) - 1}", value=(int(owner.min()), int(owner.max())))
    own = (queries * positives).sum(1)
    held = unit("eci", negatives, 1) if len(negatives) else negatives.to(queries.dtype)
    return eci_of_scores((1 + own) / 2, (1 + (queries[owner] * held).sum(1)) / 2, owner)


@torch.no_grad()
def eci_of_scores(positive: torch.Tensor, negative: torch.Tensor, owner: torch.Tensor) -> Contrast:
    """:func:`eci` from scores in [0, 1].
    Shapes: positive (N,), negative and owner (K,).

    >>> found = eci_of_scores(torch.tensor([0.9]), torch.tensor([0.3, 0.5]), torch.tensor([0, 0]))
    >>> round(found.eci, 5), round(found.signal, 3), round(found.safety, 3)
    (0.43944, 0.4, 0.4)
    """
    positive, negative = positive.double(), negative.double()
    n = len(positive)
    count = torch.bincount(owner, minlength=n).double()
    signal = torch.zeros(n, dtype=torch.float64, device=positive.device).index_add_(0, owner, negative) / count.clamp(min=1)
    hardest = torch.full((n,), -math.inf, dtype=torch.float64, device=positive.device).scatter_reduce_(0, owner, negative, "amax")
    safety = (positive - hardest).clamp(0, 1)
    none = count == 0
    both = torch.where((signal > 0) & (safety > 0) & ~none, 2 * signal * safety / (signal + safety), 0.0)
    capacity = count.log1p()
    return Contrast(
        eci=float((capacity * both).mean()),
        capacity=float(capacity.mean()),
        signal=float(signal.mean()),
        safety=float(safety.mean()),
        unsafe=float((hardest >= positive).double().mean()),
    )
