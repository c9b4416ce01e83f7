"""What a temperature does to these vectors: which negatives push, and how many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from dipole.core.errors import DataError, ParameterError
from dipole.core.pairs import Pairs
from dipole.diagnostics.estimate import drawn
from dipole.diagnostics.vectors import sides
from dipole.pairwise import Count, LogSumExp, Max, Sum, Tile, reduce

GRID = (0.01, 0.02, 0.05, 0.07, 0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True)
class AtTemperature:
    """One temperature, means over queries. ``entropy`` of the negatives' shares of the push, divided by its maximum log(N - 1) ·
    ``negatives`` exp of the entropy: as many negatives push as if that many pushed alike · ``hardest`` the share of the hardest one ·
    ``pull`` 1 - P_ii, the pull on the positive in units of 1 / temperature, which equals the whole push."""

    temperature: float
    entropy: float
    negatives: float
    hardest: float
    pull: float


@torch.no_grad()
def temperature_sensitivity(
    x: torch.Tensor, y: torch.Tensor, temperatures: Sequence[float] = GRID, rows: int | None = None, seed: int = 0
) -> list[AtTemperature]:
    """How InfoNCE's gradient would be shared among the negatives at several temperatures.

        r_ij = |dL_i/ds_ij| / |dL_i/ds_ii| = exp(s_ij / t) / sum_{k != i} exp(s_ik / t)        j != i
        entropy = mean_i H(r_i) / log(N - 1),    pull = mean_i (1 - P_ii)

    Range: entropy from 0 (only the hardest negative pushes) to 1 (all alike); it grows with t.
    Healthy: neither end: a small t trades tolerance for uniformity, a large one ignores hardness. ``pull`` near 0 says that nothing
      is left to learn from this batch at this t.
    Source: Wang & Liu 2021, arXiv:2012.09740, eqs. 3 to 6 (gradients and relative penalty).
    Cost: two passes, O(T N^2 + N^2 d) for T temperatures, memory O(T N); ``rows=n`` draws n queries and holds them against every
      key. N stands for the batch: give as many pairs as a batch has.
    Shapes: x, y (N, d), N at least 3.
    Errors: DataError, ParameterError.
    """
    x, y = sides("temperature_sensitivity", x, y, 3)
    for t in temperatures:
        _positive("temperature_sensitivity", t)
    names = [f"at{place}" for place in range(len(temperatures))]

    def negatives(tile: Tile) -> dict[str, torch.Tensor]:
        scores = tile.fill_positive(tile.scores, -torch.inf)
        return {"scores": scores} | {name: scores / t for name, t in zip(names, temperatures, strict=True)}

    pairs = _asked("temperature_sensitivity", x, y, rows, seed)
    levels_of: dict[str, Any] = {name: LogSumExp("rows", of=name) for name in names}
    first = reduce(negatives, pairs, hardest=Max("rows", of="scores"), **levels_of)
    levels = {name: getattr(first, name) for name in names}

    def weighted(tile: Tile) -> dict[str, torch.Tensor]:
        found = {}
        for name, t in zip(names, temperatures, strict=True):
            logits = tile.scores / t
            found[name] = tile.fill_positive((logits - tile.rows[name]).exp() * logits, 0.0)
        return found

    sums_of: dict[str, Any] = {name: Sum("rows", of=name) for name in names}
    second = reduce(weighted, replace(pairs, rows=levels), **sums_of)
    own = pairs.positive_scores().double()
    answer = []
    for name, t in zip(names, temperatures, strict=True):
        level = levels[name].double()
        entropy = level - getattr(second, name).double()
        answer.append(
            AtTemperature(
                temperature=t,
                entropy=float(entropy.mean()) / math.log(len(x) - 1),
                negatives=float(entropy.exp().mean()),
                hardest=float((first.hardest.double() / t - level).exp().mean()),
                pull=float(torch.sigmoid(level - own / t).mean()),
            )
        )
    return answer


@dataclass(frozen=True)
class GradientShare:
    """``edges`` of bins of the negatives' cosine; per bin the share of ``negatives`` in it and of the ``gradient`` they give."""

    edges: tuple[float, ...]
    negatives: tuple[float, ...]
    gradient: tuple[float, ...]


@torch.no_grad()
def gradient_share(
    x: torch.Tensor, y: torch.Tensor, temperature: float, bins: int = 10, rows: int | None = None, seed: int = 0
) -> GradientShare:
    """Which negatives InfoNCE's gradient comes from, by how hard they are.

        gradient_b = sum_{j != i, s_ij in bin b} P_ij / sum_{j != i} P_ij,    P_ij = softmax_j(s_ij / t)

    over equal bins of the cosine from -1 to 1.
    Range: both rows sum to 1.
    Healthy: gradient from the upper bins but not from the last alone, where copies and false negatives are.
    Source: |dL_i/ds_ij| = P_ij / t for InfoNCE (Wang & Liu 2021, arXiv:2012.09740, eq. 3).
    Cost: two passes, O(N^2 (d + bins)), memory O(N bins); ``rows=n`` draws n queries and holds them against every key.
    Shapes: x, y (N, d), N at least 2.
    Errors: DataError, ParameterError.
    """
    x, y = sides("gradient_share", x, y)
    _positive("gradient_share", temperature)
    if not 1 <= bins <= 64:
        raise ParameterError("gradient_share", "bins", "a whole number from 1 to 64", bins)
    pairs = _asked("gradient_share", x, y, rows, seed)
    level = reduce(lambda tile: tile.scores / temperature, pairs, it=LogSumExp("rows")).it
    names = [f"bin{place}" for place in range(bins)]

    def pushes(tile: Tile) -> dict[str, torch.Tensor]:
        push = (tile.scores / temperature - tile.rows["level"]).exp()
        place = ((tile.scores + 1) * (bins / 2)).floor().clamp(0, bins - 1)
        place = tile.fill_positive(place, -1.0)
        shares = {name: push * (place == b) for b, name in enumerate(names)}
        return shares | {f"n{name}": (place == b).to(push.dtype) for b, name in enumerate(names)}

    wanted: dict[str, Any] = {name: Sum("rows", of=name) for name in names} | {f"n{name}": Count("rows", of=f"n{name}") for name in names}
    found = reduce(pushes, replace(pairs, rows={"level": level}), **wanted)
    gradient = torch.stack([getattr(found, name).double().sum() for name in names])
    number = torch.stack([getattr(found, f"n{name}").double().sum() for name in names])
    if not gradient.sum() > 0:
        raise DataError("gradient_share: no negative gets any gradient at this temperature", value=temperature, remedy="raise it")
    edges = torch.linspace(-1, 1, bins + 1, dtype=torch.float64).tolist()
    return GradientShare(tuple(edges), tuple((number / number.sum()).tolist()), tuple((gradient / gradient.sum()).tolist()))


@torch.no_grad()
def gradient_share_of_queries(
    x: torch.Tensor, y: torch.Tensor, temperature: float, groups: int = 4, rows: int | None = None, seed: int = 0
) -> list[float]:
    """Which queries InfoNCE's gradient comes from, from the easiest group to the hardest.

        share_g = sum_{i in g} (1 - P_ii) / sum_i (1 - P_ii)

    Queries are ordered by s_ii minus their hardest negative's score, largest (easiest) first, and cut into equal groups. Sums to 1.
    Healthy: rising.
    Source: dL_i/ds_ii = (P_ii - 1) / t.
    Cost: one pass, O(N^2 d); ``rows=n`` draws n queries and holds them against every key.
    Shapes: x, y (N, d), N at least ``groups``.
    Errors: DataError, ParameterError.
    """
    x, y = sides("gradient_share_of_queries", x, y)
    _positive("gradient_share_of_queries", temperature)
    pairs = _asked("gradient_share_of_queries", x, y, rows, seed)
    if not 1 <= groups <= pairs.shape[0]:
        raise ParameterError("gradient_share_of_queries", "groups", f"a whole number from 1 to {pairs.shape[0]}", groups)

    def negatives(tile: Tile) -> dict[str, torch.Tensor]:
        scores = tile.fill_positive(tile.scores, -torch.inf)
        return {"hardest": scores, "logits": scores / temperature}

    found = reduce(negatives, pairs, hardest=Max("rows", of="hardest"), level=LogSumExp("rows", of="logits"))
    own = pairs.positive_scores()
    pull = torch.sigmoid((found.level - own / temperature).double())
    order = (own - found.hardest).argsort(descending=True)
    shares = torch.stack([part.sum() for part in pull[order].tensor_split(groups)])
    if not shares.sum() > 0:
        raise DataError("gradient_share_of_queries: no query gets any gradient at this temperature", value=temperature, remedy="raise it")
    return [float(share) for share in shares / shares.sum()]


def _asked(name: str, x: torch.Tensor, y: torch.Tensor, rows: int | None, seed: int) -> Pairs:
    """The drawn queries (None: all) against every key; row i's positive is column i."""
    chosen = drawn(name, len(x), rows, seed)
    if chosen is None:
        return Pairs.aligned(x, y)
    rest = torch.ones(len(x), dtype=torch.bool)
    rest[chosen] = False
    return Pairs.aligned(x[chosen.to(x.device)], torch.cat([y[chosen.to(y.device)], y[rest.to(y.device)]]))


def _positive(name: str, temperature: float) -> None:
    if not 0 < temperature < math.inf:
        raise ParameterError(name, "temperature", "a number above 0", temperature)
