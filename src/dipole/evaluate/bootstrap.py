"""Bootstrap intervals: how far a figure would move had other queries been drawn.

Percentile intervals (Efron 1979) over items drawn with replacement; seeded, so equal input gives equal output.

>>> paired_interval([0.0, 0.0, 0.0], [0.5, 0.5, 0.5])
(0.5, 0.5)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dipole.core.errors import DataError, ParameterError

Floats = NDArray[np.float64]
_BLOCK = 2_000_000  # numbers drawn at once


def interval(values: ArrayLike, seed: int = 0, samples: int = 10_000, level: float = 0.95) -> tuple[float, float]:
    """(low, high) of the mean of (N,) values."""
    data = _numbers("values", values)
    means = [data[drawn].mean(axis=1) for drawn in _draws(len(data), seed, samples)]
    return _percentiles(np.concatenate(means), level)


def paired_interval(before: ArrayLike, after: ArrayLike, seed: int = 0, samples: int = 10_000, level: float = 0.95) -> tuple[float, float]:
    """(low, high) of the mean of ``after - before``, the same (N,) queries measured twice.

    The difference is significant at ``1 - level`` where 0 lies outside. Raises DataError where the lengths differ.
    """
    first, second = _numbers("before", before), _numbers("after", after)
    if len(first) != len(second):
        raise DataError("paired_interval: both must measure the same queries", value=(len(first), len(second)))
    return interval(second - first, seed, samples, level)


def statistic_interval(
    columns: Sequence[ArrayLike],
    statistic: Callable[..., Floats],
    seed: int = 0,
    samples: int = 2_000,
    level: float = 0.95,
) -> tuple[float, float]:
    """(low, high) of ``statistic``, which maps (S, N) resampled columns to (S,) numbers. Undefined resamples are left out."""
    data = [_numbers(f"columns[{i}]", column) for i, column in enumerate(columns)]
    found = np.concatenate([statistic(*(c[drawn] for c in data)) for drawn in _draws(len(data[0]), seed, samples)])
    found = found[np.isfinite(found)]
    return _percentiles(found, level) if len(found) else (float("nan"), float("nan"))


def mean_intervals(columns: Mapping[str, ArrayLike], seed: int = 0, samples: int = 2_000) -> dict[str, tuple[float, float]]:
    """Name -> (low, high) of the mean of each (N,) column, all over the same draws."""
    data = {name: _numbers(name, column) for name, column in columns.items()}
    stacked = np.stack(list(data.values()))
    means = np.concatenate([stacked[:, drawn].mean(axis=2) for drawn in _draws(stacked.shape[1], seed, samples)], axis=1)
    return {name: _percentiles(row, 0.95) for name, row in zip(data, means, strict=True)}


def weighted_intervals(
    sizes: int | Sequence[int],
    statistic: Callable[[Floats], Mapping[str, ArrayLike]],
    seed: int = 0,
    samples: int = 2_000,
    spread: int = 1,
    centre: Mapping[str, float] | None = None,
) -> dict[str, tuple[float, float]]:
    """Name -> (low, high) of statistics that take how often each item was drawn: ``statistic`` maps (S, N) counts to (S,) numbers.

    ``sizes``: N, or the sizes of groups that are drawn separately and lie one after the other, so that each keeps its size.
    ``spread``: numbers the statistic makes of each count, which bounds how many resamples it gets at once. ``centre``: name -> the
    figure of all items, on which the resamples' mean is put, for statistics that repeated items raise or lower. Undefined resamples
    (NaN) are left out; where all are, the bounds are NaN.
    """
    groups = [sizes] if isinstance(sizes, int) else list(sizes)
    found: dict[str, list[Floats]] = {}
    for drawn in _counts(groups, seed, samples, spread):
        for name, values in statistic(drawn).items():
            found.setdefault(name, []).append(np.asarray(values, dtype=np.float64))
    bounds = {}
    for name, parts in found.items():
        values = np.concatenate(parts)
        values = values[np.isfinite(values)]
        if centre is not None and name in centre and len(values):
            values = values + (centre[name] - values.mean())
        bounds[name] = _percentiles(values, 0.95) if len(values) else (float("nan"), float("nan"))
    return bounds


def sums_by(weights: Floats, codes: ArrayLike, size: int) -> Floats:
    """(S, N) weights and (N,) codes from 0 to size - 1 -> (S, size) sums."""
    which = np.asarray(codes, dtype=np.int64)
    order = np.argsort(which, kind="stable")
    present, starts = np.unique(which[order], return_index=True)
    sums = np.zeros((len(weights), size))
    if len(present):
        sums[:, present] = np.add.reduceat(weights[:, order], starts, axis=1)
    return sums


def _counts(groups: Sequence[int], seed: int, samples: int, spread: int) -> Iterator[Floats]:
    if samples < 1:
        raise ParameterError("bootstrap", "samples", "a whole number above 0", samples)
    if min(groups) < 1:
        raise DataError("bootstrap: every group must hold at least one item", value=list(groups))
    chance = np.random.default_rng(seed)
    block = max(1, _BLOCK // (sum(groups) * spread))
    for start in range(0, samples, block):
        rows = min(block, samples - start)
        parts = []
        for n in groups:
            drawn = chance.integers(0, n, size=(rows, n)) + n * np.arange(rows)[:, None]
            parts.append(np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n))
        yield np.concatenate(parts, axis=1).astype(np.float64)


def _draws(n: int, seed: int, samples: int) -> Iterator[NDArray[np.int64]]:
    if samples < 1:
        raise ParameterError("bootstrap", "samples", "a whole number above 0", samples)
    chance = np.random.default_rng(seed)
    block = max(1, _BLOCK // n)
    for start in range(0, samples, block):
        yield chance.integers(0, n, size=(min(block, samples - start), n))


def _percentiles(found: Floats, level: float) -> tuple[float, float]:
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _numbers(name: str, values: ArrayLike) -> Floats:
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or not len(data):
        raise DataError(f"bootstrap: {name} must be a list of at least one number", value=data.shape)
    if not np.isfinite(data).all():
        raise DataError(f"bootstrap: {name} must be finite", value=float(data[~np.isfinite(data)][0]))
    return data
