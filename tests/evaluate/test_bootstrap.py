"""Bootstrap intervals against the normal approximation and against their coverage."""

from __future__ import annotations

import numpy as np
import pytest

from dipole.core.errors import DataError, ParameterError
from dipole.evaluate.bootstrap import interval, paired_interval, statistic_interval


def test_interval_of_a_mean_agrees_with_the_normal_approximation() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, 2_000)
    low, high = interval(values)
    half = 1.96 * values.std() / np.sqrt(len(values))
    # The standard error of a 2.5% quantile of 10,000 draws is sqrt(.025 * .975 / 10,000) / density(1.96) = 0.027 deviations
    # of the mean, 0.014 of the half width; four of them are allowed.
    assert low == pytest.approx(values.mean() - half, abs=0.056 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.056 * half)


def test_95_percent_intervals_cover_in_about_95_of_100_cases() -> None:
    chance = np.random.default_rng(2)
    covered = sum(low <= 0.3 <= high for low, high in (interval(chance.random(150) < 0.3, seed=i, samples=800) for i in range(400)))
    assert 0.92 < covered / 400 < 0.975  # 3 standard errors around 0.95


def test_paired_is_the_interval_of_the_differences_and_narrower_than_unpaired() -> None:
    chance = np.random.default_rng(3)
    before = chance.random(500)
    after = before + 0.02 + 0.01 * chance.normal(size=500)
    low, high = paired_interval(before, after)
    assert (low, high) == interval(after - before)
    assert 0.018 < low < 0.02 < high < 0.0225
    assert paired_interval(after, before)[1] < 0


def test_a_seed_repeats() -> None:
    values = np.random.default_rng(4).random(50)
    assert interval(values, seed=7) == interval(values, seed=7) != interval(values, seed=8)


def test_statistic_interval_of_the_mean_is_the_interval_of_the_mean() -> None:
    values = np.random.default_rng(5).random(60)
    assert statistic_interval([values], lambda v: v.mean(axis=1), samples=500) == interval(values, samples=500)


def test_bad_input() -> None:
    with pytest.raises(DataError, match="same queries"):
        paired_interval([1.0], [1.0, 2.0])
    with pytest.raises(DataError, match="at least one number"):
        interval([])
    with pytest.raises(DataError, match="finite"):
        interval([1.0, float("nan")])
    with pytest.raises(ParameterError, match="samples"):
        interval([1.0], samples=0)
