"""What small runs are measured by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from scipy.stats import spearmanr

from dipole.assembly.metrics import METRICS, Seen
from dipole.core.errors import DataError


class Given:
    """An encoder of items that are vectors already; it counts what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, items: Sequence[Any], side: str = "") -> torch.Tensor:
        self.asked.append(side)
        return torch.tensor(items)


def test_columns_are_encoded_when_a_metric_asks_and_only_then() -> None:
    encoder = Given()
    rows = [{"anchor": [float(i), 1.0], "positive": "no vector", "label": i % 2} for i in range(4)]
    METRICS["nearest-label"](Seen(encoder, rows))
    assert encoder.asked == ["queries"]
    with pytest.raises(DataError, match="test rows have no label, which the metric reads"):
        METRICS["nearest-label"](Seen(encoder, [{"anchor": [1.0, 0.0]}] * 2))


def test_spearman_is_scipys_ties_included() -> None:
    torch.manual_seed(0)
    anchors, positives, grades = torch.randn(30, 3), torch.randn(30, 3), torch.randint(1, 5, (30,))
    rows = [
        {"anchor": a, "positive": p, "score": float(g)}
        for a, p, g in zip(anchors.tolist(), positives.tolist(), grades.tolist(), strict=True)
    ]
    want = spearmanr((anchors.double() * positives.double()).sum(1).numpy(), grades.numpy()).statistic
    assert METRICS["spearman"](Seen(Given(), rows)) == pytest.approx(want, rel=1e-9)


def test_own_negatives_counts_rows_that_beat_each_of_theirs() -> None:
    one, other = [1.0, 0.0], [0.0, 1.0]
    rows = [
        {"anchor": one, "positive": one, "negative": [other, other]},
        {"anchor": one, "positive": other, "negative": [other, one]},
        {"anchor": one, "positive": one, "negative": [one]},  # equal is not higher
    ]
    assert METRICS["own-negatives"](Seen(Given(), rows)) == pytest.approx(1 / 3)
    with pytest.raises(DataError, match="no negative"):
        METRICS["own-negatives"](Seen(Given(), [{"anchor": one, "positive": one}]))
