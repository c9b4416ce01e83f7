"""Gap, histograms and token isotropy against loops, closed forms and official code."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from dipole.core.errors import DataError
from dipole.diagnostics import cosine_gap, similarities, token_isotropy
from tests.held import Held

GOLDEN = Path(__file__).parents[1] / "golden" / "contrastive-search-isotropy__compute_one_instance_result__pooled.npz"


def drawn(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def cosines(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cosine_similarity(x[:, None], y[None], dim=-1)


def test_gap_and_histograms_against_the_whole_matrix() -> None:
    x = drawn(300, 5)
    y = x + drawn(300, 5, 1)
    c = cosines(x, y)
    own, others = c.diagonal(), c[~torch.eye(300, dtype=torch.bool)]
    gap = cosine_gap(x, y)
    assert gap.matched == pytest.approx(float(own.mean()), rel=1e-9)
    assert gap.random == pytest.approx(float(others.mean()), rel=1e-9)
    assert gap.gap == gap.matched - gap.random
    found = similarities(x, y, bins=20)
    p, q = (np.histogram(side.numpy(), 20, (float(c.min()), float(c.max())))[0] for side in (own, others))
    assert (found.matched, found.random) == (tuple(p), tuple(q))
    assert found.overlap == pytest.approx(float(np.minimum(p / p.sum(), q / q.sum()).sum()))
    assert found.edges[0] == pytest.approx(float(c.min())) and found.edges[-1] == pytest.approx(float(c.max()))
    narrow = similarities(x + 50, y + 50, bins=20)  # all cosines within a hair of 1: the bins follow
    assert narrow.edges[0] > 0.99 and narrow.overlap < 0.9
    assert similarities(torch.ones(5, 3), torch.ones(5, 3)).overlap == pytest.approx(1)
    some = similarities(x, y, bins=20, rows=100, seed=3)
    assert sum(some.matched) == 100 and sum(some.random) == 100 * 299


def test_overlap_of_two_normals() -> None:
    """Cosines of pairs and non-pairs made normal at a known distance: 2 Phi(-a / 2)."""
    n, d = 3000, 400
    x = drawn(n, d)
    y = drawn(n, d, 1) + 0.1 * x  # non-pairs: normal, deviation 1 / sqrt(d); pairs shifted by 0.1 / sqrt(1.01)
    a = 0.1 / math.sqrt(1.01) * math.sqrt(d)
    expected = 2 * 0.5 * math.erfc(a / 2 / math.sqrt(2))
    assert similarities(x, y, bins=200).overlap == pytest.approx(expected, abs=0.03)


def test_a_common_offset_raises_the_level_and_not_the_gap() -> None:
    x = drawn(200, 8)
    y = x + 0.3 * drawn(200, 8, 1)
    offset = torch.full((8,), 3.0)
    before, after = cosine_gap(x, y), cosine_gap(x + offset, y + offset)
    assert after.random > before.random + 0.5
    assert after.gap < before.gap


def test_token_isotropy_is_the_official_one() -> None:
    held = np.load(GOLDEN)
    tokens, lengths = torch.from_numpy(held["in_h"]), torch.from_numpy(held["in_lengths"])
    mask = torch.arange(tokens.shape[1])[None] < lengths[:, None]
    assert token_isotropy(tokens, mask) == pytest.approx(float(held["out_isotropy"]), rel=1e-9)


def test_token_isotropy_pools_and_masks() -> None:
    first, second = torch.tensor([[1.0, 0], [1, 0]]), torch.tensor([[1.0, 0], [0, 1], [1, 0], [0, 1]])
    tokens = torch.zeros(2, 4, 2)
    tokens[0, :2], tokens[1] = first, second
    mask = torch.tensor([[True, True, False, False], [True] * 4])
    assert token_isotropy(tokens, mask) == pytest.approx(1 - (2 + 4) / (2 + 12))  # not the mean of 0 and 1 - 4/12
    assert token_isotropy(tokens * 7, mask) == pytest.approx(token_isotropy(tokens, mask))
    with pytest.raises(DataError, match="finite and not 0"):
        token_isotropy(tokens)
    with pytest.raises(DataError, match="no text has two tokens"):
        token_isotropy(torch.ones(3, 1, 2))


def test_no_matrix_of_all_pairs() -> None:
    x = torch.randn(50_000, 64)
    with Held() as held:
        cosine_gap(x, x)
        similarities(x, x, rows=256)
    assert held.peak < 200 * 2**20
