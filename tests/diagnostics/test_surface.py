"""Length and overlap bias against scipy's rank correlations and planted biases."""

from __future__ import annotations

import pytest
import scipy.stats
import torch

from dipole.core.errors import DataError
from dipole.diagnostics import length_bias, overlap_bias, word_overlap
from dipole.diagnostics.surface import rank_correlation


def drawn(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_rank_correlation_is_scipys() -> None:
    a, b = drawn(50).mul(3).round(), drawn(50, 1) + drawn(50).round()  # with ties
    assert rank_correlation(a, b) == pytest.approx(scipy.stats.spearmanr(a, b).statistic)


def test_the_partial_correlation_removes_what_gold_explains() -> None:
    gold = drawn(2000)
    a, b = gold + 0.5 * drawn(2000, 1), gold + 0.5 * drawn(2000, 2)
    assert rank_correlation(a, b) > 0.7
    assert abs(rank_correlation(a, b, gold)) < 0.08
    ranks = [torch.from_numpy(scipy.stats.rankdata(z)) for z in (a, b, gold)]
    ones = torch.ones(2000, dtype=torch.float64)
    design = torch.stack([ones, ranks[2]], 1)
    left = [z - design @ torch.linalg.lstsq(design, z[:, None]).solution[:, 0] for z in ranks[:2]]
    assert rank_correlation(a, b, gold) == pytest.approx(float(torch.corrcoef(torch.stack(left))[0, 1]), abs=1e-9)


def test_planted_biases_are_found_and_their_absence_too() -> None:
    gold = drawn(1000)
    first, second = torch.randint(3, 40, (1000,)), torch.randint(3, 40, (1000,))
    fair = length_bias(gold + 0.1 * drawn(1000, 1), first, second, gold)
    assert abs(fair.correlation) < 4 * fair.error
    biased = length_bias(gold - 0.05 * (first - second).abs(), first, second, gold)
    assert biased.correlation < -0.5
    overlap = torch.rand(1000)
    assert overlap_bias(gold + overlap, overlap, gold).correlation > 0.5
    assert abs(overlap_bias(gold, overlap).correlation) < 4 * overlap_bias(gold, overlap).error
    constant = overlap_bias(gold + overlap, overlap, torch.ones(1000))  # one gold value: nothing to hold fixed
    assert constant == overlap_bias(gold + overlap, overlap)


def test_words_and_bad_input() -> None:
    assert word_overlap(["a b c", "x"], ["B c d", "y"]).tolist() == [0.5, 0]
    with pytest.raises(DataError, match="as many texts"):
        word_overlap(["a"], [])
    with pytest.raises(DataError, match="all equal"):
        overlap_bias(torch.ones(9), drawn(9))
    with pytest.raises(DataError, match="one value each"):
        overlap_bias(drawn(9), drawn(8))
    with pytest.raises(DataError, match="cosines must be finite"):
        overlap_bias(drawn(9) / 0 * 0, drawn(9))
