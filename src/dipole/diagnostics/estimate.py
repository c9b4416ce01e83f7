"""A figure with the error that looking at part of the data brings, and how that part is drawn.

A figure over all pairs is a mean over rows of what each row has with all others. With ``rows=n`` that inner part stays exact and n
rows are drawn without replacement, so the figure is unbiased and its standard error is that of a mean of n values out of N:
s / sqrt(n) * sqrt(1 - n / N). Time falls from O(N^2 d) to O(n N d).
"""

from __future__ import annotations

import math

import torch

from dipole.core.errors import ParameterError


class Estimate(float):
    """A float that knows its standard error. ``error`` is 0 where nothing was left out; ``rows``: how many were looked at.

    >>> found = Estimate(-3.5, error=0.01, rows=4096)
    >>> found + 1, found.error
    (-2.5, 0.01)
    """

    error: float
    rows: int

    def __new__(cls, value: float, error: float = 0.0, rows: int = 0) -> Estimate:
        made = super().__new__(cls, value)
        made.error, made.rows = error, rows
        return made


def drawn(name: str, length: int, rows: int | None, seed: int = 0) -> torch.Tensor | None:
    """(n,) int64, ascending: which rows are looked at; None for all of them."""
    if rows is None or (isinstance(rows, int) and rows >= length):
        return None
    if not isinstance(rows, int) or rows < 2:
        raise ParameterError(name, "rows", "a whole number of at least 2, or None for all rows", rows)
    return torch.randperm(length, generator=torch.Generator().manual_seed(seed))[:rows].sort().values


def mean_of(values: torch.Tensor, length: int) -> Estimate:
    """The mean of (n,) values of rows drawn from ``length``, with its standard error."""
    values = values.double()
    n = len(values)
    error = 0.0 if n >= length else float(values.std()) / math.sqrt(n) * math.sqrt(1 - n / length)
    return Estimate(float(values.mean()), error, n)
