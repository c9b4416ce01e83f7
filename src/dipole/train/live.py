"""Live diagnostics: a few cheap numbers a step that say whether training works, and in words where it does not.

``log_candidates``: log M, what softmax losses start from and sit at where nothing is learned.
``effective_rank``: exp of the entropy of the spectrum of at most 256 vectors (arXiv: Roy & Vetterli, 2007); 1: collapsed.
``mean_cosine``: mean cosine of two different vectors; 1: collapsed, 0: spread.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

_ROWS = 256


@torch.no_grad()
def effective_rank(vectors: torch.Tensor) -> float:
    """Between 1 and min(N, d), of the first 256 of (N, d) vectors, not centred."""
    sample = vectors[:_ROWS].double()  # squaring the spectrum costs half the digits
    wide = sample.shape[0] < sample.shape[1]
    spectrum = torch.linalg.eigvalsh(sample @ sample.T if wide else sample.T @ sample).clamp(min=0).sqrt()
    total = spectrum.sum()
    if not bool(total > 0):
        return 1.0
    share = spectrum / total
    return float(torch.exp(-(share * share.clamp(min=1e-30).log()).sum()))


@torch.no_grad()
def mean_cosine(vectors: torch.Tensor) -> float:
    """Of all pairs of different rows of (N, d), in O(N d)."""
    n = len(vectors)
    if n < 2:
        return math.nan
    unit = torch.nn.functional.normalize(vectors.float(), dim=-1)
    return float((unit.sum(0).square().sum() - unit.square().sum()) / (n * (n - 1)))


def line(vectors: torch.Tensor, candidates: int) -> dict[str, float]:
    """The numbers of one step."""
    found = {"effective_rank": effective_rank(vectors), "mean_cosine": mean_cosine(vectors)}
    return {**({"log_candidates": math.log(candidates)} if candidates else {}), **found}


def alarms(history: Sequence[Mapping[str, float]], dimension: int) -> list[str]:
    """What the last steps of a run suggest is wrong, in words with a remedy; mostly nothing. Needs 20 steps."""
    recent = history[-20:]
    if len(recent) < 20:
        return []
    said = []
    losses = [r["loss"] / r["log_candidates"] for r in recent if r.get("log_candidates")]
    if len(losses) == 20 and all(abs(x - 1) < 0.01 for x in losses):
        said.append("loss sits at log N: nothing is learned; check that positives belong together, or raise learning_rate")
    if all(r["mean_cosine"] > 0.95 for r in recent):
        said.append("all vectors point the same way (mean cosine above 0.95): collapse; lower learning_rate or temperature")
    if all(r["effective_rank"] < min(3.0, dimension / 4) for r in recent):
        said.append("vectors span hardly more than two directions (effective rank below 3): dimensional collapse")
    return said
