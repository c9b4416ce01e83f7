"""Concept depth on planted signals and on none; layers matched across models."""

from __future__ import annotations

import pytest
import torch

from dipole.core.errors import DataError
from dipole.diagnostics import concept_depth, layer_map, mutual_neighbours


def drawn(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_a_planted_signal_is_found_where_it_begins() -> None:
    labels = torch.arange(400) % 2
    direction = torch.zeros(12, dtype=torch.float64)
    direction[3] = 6
    layers = [drawn(400, 12, s) + (direction * labels[:, None] if s >= 3 else 0) for s in range(6)]
    found = concept_depth(layers, labels)
    assert all(abs(a - 0.5) < 0.13 for a in found.accuracy[:3])  # four binomial standard errors of 160 held-out items
    assert all(a > 0.98 for a in found.accuracy[3:])
    assert found.jump == 4 / 6 and found.converged == 4 / 6 and found.peak >= 3


def test_random_labels_leak_nothing_even_where_dimensions_exceed_items() -> None:
    labels = (drawn(200, 1) > 0).long().flatten()
    found = concept_depth([drawn(200, 300, s) for s in range(3)], labels)
    assert all(abs(a - 0.5) < 4 * 0.5 / 80**0.5 for a in found.accuracy)


def test_layers_are_matched() -> None:
    base = [drawn(60, 5, s) for s in range(3)]
    turn = torch.linalg.qr(drawn(5, 5, 9)).Q
    other = [drawn(60, 7, 20), base[2] @ turn, drawn(60, 4, 21)]
    found = layer_map(base, other)
    assert found.best == (2, 1) and found.similarity[2, 1] == pytest.approx(1)
    assert found.similarity.shape == (3, 3)
    assert layer_map(base, other, mutual_neighbours).best == (2, 1)


def test_bad_input_is_named() -> None:
    x = drawn(20, 3)
    with pytest.raises(DataError, match="at least one layer"):
        concept_depth([], torch.arange(20) % 2)
    with pytest.raises(DataError, match="as many"):
        concept_depth([x, x[:10]], torch.arange(20) % 2)
    with pytest.raises(DataError, match="at least 2 classes"):
        concept_depth([x], torch.zeros(20, dtype=torch.int64))
