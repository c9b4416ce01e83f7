"""How similar pairs are beside non-pairs: the gap between them, their histograms, and the tokens of texts."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dipole.core.errors import DataError
from dipole.core.pairs import Pairs
from dipole.core.relations import Match
from dipole.core.scores import scores_of_pairs
from dipole.diagnostics.estimate import drawn
from dipole.diagnostics.vectors import BLOCK, sides
from dipole.pairwise import Histogram, Max, reduce, scores_as_they_are


@dataclass(frozen=True)
class CosineGap:
    """Mean cosine of pairs, of non-pairs, and how much the first exceeds the second."""

    matched: float
    random: float
    gap: float


@torch.no_grad()
def cosine_gap(x: torch.Tensor, y: torch.Tensor) -> CosineGap:
    """How much more similar pairs are than non-pairs.

        mean_i x_i . y_i  -  mean_{i != j} x_i . y_j        on unit vectors

    Range: -2 to 2.
    Healthy: clearly above 0. The level of either mean says little: a common offset raises both and leaves the order of neighbours,
      so it is the gap that measures alignment.
    Source: Liu et al. 2024, arXiv:2409.17326 (matched and random pairs).
    Cost: O(N d), exact.
    Shapes: x, y (N, d), N at least 2.
    Errors: DataError.

    >>> cosine_gap(torch.eye(3), torch.eye(3))
    CosineGap(matched=1.0, random=0.0, gap=1.0)
    """
    x, y = sides("cosine_gap", x, y)
    own = sum(float((a * b).sum(dtype=torch.float64)) for a, b in zip(x.split(BLOCK), y.split(BLOCK), strict=True))
    total = float(x.sum(0, dtype=torch.float64) @ y.sum(0, dtype=torch.float64))
    n = len(x)
    matched, random = own / n, (total - own) / (n * (n - 1))
    return CosineGap(matched, random, matched - random)


@dataclass(frozen=True)
class Similarities:
    """Counts of cosines in equal bins from the lowest to the highest, of pairs and of non-pairs; ``overlap`` of the two distributions."""

    edges: tuple[float, ...]
    matched: tuple[int, ...]
    random: tuple[int, ...]
    overlap: float


@torch.no_grad()
def similarities(x: torch.Tensor, y: torch.Tensor, bins: int = 50, rows: int | None = None, seed: int = 0) -> Similarities:
    """The distribution of the cosines of pairs and of non-pairs.

        overlap = sum_b min(p_b, q_b)        p, q: the two histograms, each summing to 1

    Range of the overlap: 0 (a threshold tells pairs from non-pairs) to 1 (nothing does). For two normal distributions of unit
      variance at distance a it is 2 Phi(-a / 2).
    Source: Inman & Bradley 1989 (overlapping coefficient).
    Cost: twice O(N^2 d), memory O(N d); ``rows=n`` draws n queries and compares them with every key.
    Shapes: x, y (N, d), N at least 2.
    Errors: DataError.
    """
    x, y = sides("similarities", x, y)
    chosen = drawn("similarities", len(x), rows, seed)
    places = torch.arange(len(x)) if chosen is None else chosen
    places = places.to(x.device)
    queries = x if chosen is None else x[places]
    nobody = Match(torch.full_like(places, -1), torch.full((len(y),), -1, device=x.device))
    others = Pairs(queries, y, nobody, excluded=(Match(places, torch.arange(len(y), device=x.device)),))
    ends = reduce(lambda tile: {"up": tile.scores, "down": -tile.scores}, others, up=Max("total", of="up"), down=Max("total", of="down"))
    own = scores_of_pairs(others.score, queries, y[places])
    low, high = min(-float(ends.down), float(own.min())), max(float(ends.up), float(own.max()))
    high = max(high, low + 1e-6)  # where all cosines are the same
    random = reduce(scores_as_they_are, others, it=Histogram("total", low=low, high=high, bins=bins)).it
    where = ((own - low) * (bins / (high - low))).long().clamp(0, bins - 1)
    matched = torch.bincount(where, minlength=bins)
    overlap = float(torch.minimum(matched / matched.sum(), random / random.sum()).sum(dtype=torch.float64))
    edges = torch.linspace(low, high, bins + 1, dtype=torch.float64)
    return Similarities(tuple(edges.tolist()), tuple(matched.tolist()), tuple(random.tolist()), overlap)


@torch.no_grad()
def token_isotropy(tokens: torch.Tensor, mask: torch.Tensor | None = None) -> float:
    """How differently the tokens of a text point, pooled over texts.

        1 - sum_b sum_{i != j} h_bi . h_bj / sum_b n_b (n_b - 1)        on unit vectors

    Pooled: long texts weigh more, it is not the mean of the texts' values.
    Range: 0 (all tokens of a text point one way) to about 1.
    Source: Su & Collier 2022, arXiv:2210.14140, eq. 3.
    Cost: O(B L d).
    Shapes: tokens (B, L, d), mask (B, L), True where a token counts.
    Errors: DataError, also where no text has two tokens.

    >>> token_isotropy(torch.eye(4)[None]), round(token_isotropy(torch.ones(1, 4, 3)), 6) == 0
    (1.0, True)
    """
    if tokens.dim() != 3 or not tokens.is_floating_point() or (mask is not None and mask.shape != tokens.shape[:2]):
        raise DataError("token_isotropy: tokens must be (B, L, d) and mask (B, L)", value=tuple(tokens.shape))
    counts = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device) if mask is None else mask.bool()
    kept = tokens[counts].double()
    lengths = kept.norm(dim=1, keepdim=True)
    if not bool(torch.isfinite(lengths).all()) or not bool((lengths > 0).all()):
        raise DataError("token_isotropy: every token that counts must be finite and not 0")
    unit = torch.zeros(tokens.shape, dtype=torch.float64, device=tokens.device)
    unit[counts] = kept / lengths
    number = counts.sum(1).double()
    pairs = float((number * (number - 1)).sum())
    if not pairs:
        raise DataError("token_isotropy: no text has two tokens", value=tuple(tokens.shape))
    return 1 - float(unit.sum(1).square().sum() - number.sum()) / pairs
