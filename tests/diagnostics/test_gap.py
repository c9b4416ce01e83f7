"""The gap between two sides: golden centroid distance, separability of known clouds, and the effect of contrastive-gap's paper."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from dipole.core.errors import DataError, ParameterError
from dipole.diagnostics import modality_gap, modality_separability, separability

GOLDEN = Path(__file__).parents[1] / "golden" / "contrastive-gap__CUAXU__base.npz"


def drawn(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_centroid_distance() -> None:
    held = np.load(GOLDEN)
    found = modality_gap(torch.from_numpy(held["in_image"]), torch.from_numpy(held["in_text"]))
    assert found == pytest.approx(float(held["out_centroid_distance"]), rel=1e-9)
    x = drawn(20, 4)
    assert modality_gap(x, 3 * x) == pytest.approx(0, abs=1e-12)
    assert modality_gap(x.abs(), -x.abs()) > 1


def test_separability_of_two_sides() -> None:
    x = drawn(400, 30)
    same = modality_separability(x, x)
    assert abs(same - 0.5) < 0.08  # copies share a fold, so that they cannot give each other away with the wrong label
    mixed = modality_separability(x, drawn(400, 30, 1))
    assert abs(mixed - 0.5) < 5 * mixed.error
    assert modality_separability(x, x + 2) > 0.99
    assert mixed.rows == 800 and mixed.error == pytest.approx(math.sqrt(mixed * (1 - mixed) / 800))


def test_fewer_vectors_than_dimensions_are_not_called_separable() -> None:
    """Any 40 vectors in 300 dimensions can be told apart by a plane; held-out ones cannot."""
    found = [modality_separability(drawn(20, 300, s), drawn(20, 300, 50 + s)) for s in range(5)]
    assert sum(found) / 5 < 0.65


def test_a_push_along_one_direction_opens_the_gap() -> None:
    x, y = drawn(300, 16), drawn(300, 16) + 0.1 * drawn(300, 16, 1)
    push = torch.zeros(16, dtype=torch.float64)
    push[0] = 2
    gaps = [modality_gap(x, y + s * push) for s in (0, 1, 2)]
    apart = [modality_separability(x, y + s * push) for s in (0, 1, 2)]
    assert gaps == sorted(gaps) and apart == sorted(apart)
    assert apart[0] < 0.6 < 0.8 < apart[2]


def test_separability_of_classes() -> None:
    centres = 4 * torch.eye(3, 8)
    labels = torch.arange(3).repeat(60)
    x = centres[labels].double() + drawn(180, 8)
    assert separability(x, labels) > 0.95
    chance = separability(drawn(300, 5), torch.arange(3).repeat(100))
    assert abs(chance - 1 / 3) < 5 * chance.error
    assert separability(x, labels, rows=90).rows == 90


def test_bad_input_is_named() -> None:
    with pytest.raises(DataError, match="as many pairs or vectors as folds"):
        modality_separability(drawn(3, 2), drawn(3, 2))
    with pytest.raises(ParameterError, match="folds"):
        separability(drawn(9, 2), torch.arange(9) % 2, folds=1)
    with pytest.raises(DataError, match="at least 2 classes"):
        separability(drawn(9, 2), torch.zeros(9, dtype=torch.int64))
