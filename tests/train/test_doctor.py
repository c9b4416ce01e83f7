"""Diagnostics against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from dipole.train.live import alarms, effective_rank, line, mean_cosine


def test_effective_rank() -> None:
    assert effective_rank(torch.eye(6).repeat(3, 1)) == pytest.approx(6, rel=1e-4)
    assert effective_rank(torch.ones(5, 8)) == pytest.approx(1, rel=1e-3)
    two = torch.tensor([[3.0, 0.0], [0.0, 1.0]])  # shares 3/4 and 1/4
    assert effective_rank(two) == pytest.approx(math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25))), rel=1e-4)


def test_mean_cosine_against_all_pairs() -> None:
    x = torch.randn(17, 5, generator=torch.Generator().manual_seed(0))
    c = torch.nn.functional.cosine_similarity(x[:, None], x[None], dim=-1)
    assert mean_cosine(x) == pytest.approx(float((c.sum() - c.trace()) / (17 * 16)), abs=1e-6)
    assert line(x, 17)["log_candidates"] == pytest.approx(math.log(17))


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"loss": math.log(64), "log_candidates": math.log(64), "mean_cosine": 0.1, "effective_rank": 20.0}, "loss sits at log N"),
        ({"loss": 1.0, "log_candidates": math.log(64), "mean_cosine": 0.99, "effective_rank": 20.0}, "collapse"),
        ({"loss": 1.0, "log_candidates": math.log(64), "mean_cosine": 0.1, "effective_rank": 1.5}, "dimensional collapse"),
    ],
)
def test_alarms(record: dict[str, float], said: str) -> None:
    (alarm,) = alarms([record] * 20, 32)
    assert said in alarm
    assert alarms([record] * 19, 32) == []
    healthy = {"loss": 1.0, "log_candidates": math.log(64), "mean_cosine": 0.1, "effective_rank": 20.0}
    assert alarms([record] * 19 + [healthy], 32) == []
