"""Live diagnostics: a few cheap numbers a step that say whether training works, and in words where it does not.

``log_candidates``: log M, what softmax losses start from and sit at where nothing is learned.
``effective_rank``: exp of the entropy of the spectrum of at most 256 vectors (arXiv: Roy & Vetterli, 2007); 1: collapsed.
``mean_cosine``: mean cosine of two different vectors; 1: collapsed, 0: spread.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from dipole.diagnostics.geometry import mean_cosine as mean_of_cosines
from dipole.diagnostics.spectrum import entropy_rank, spectrum_of

_ROWS = 256


@torch.no_grad()
def effective_rank(vectors: torch.Tensor) -> float:
    """Of the first 256 of (N, d) vectors, as ``dipole.diagnostics.effective_rank`` defines it; 1 where all are zero."""
    spectrum = spectrum_of(vectors[:_ROWS])
    return entropy_rank(spectrum) if bool(spectrum[0] > 0) else 1.0


@torch.no_grad()
def mean_cosine(vectors: torch.Tensor) -> float:
    """Of all pairs of different rows of (N, d), in O(N d): ``dipole.diagnostics.anisotropy``, where zero vectors count as 0."""
    return mean_of_cosines(torch.nn.functional.normalize(vectors.float(), dim=-1)) if len(vectors) > 1 else math.nan


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
