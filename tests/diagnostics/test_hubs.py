"""Hubness against counting by hand, scipy's skewness, and what chance gives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch

from dipole.core.errors import DataError, ParameterError
from dipole.diagnostics import hubness
from tests.held import Held


def drawn(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def counted(x: torch.Tensor, k: int) -> np.ndarray:
    c = torch.nn.functional.cosine_similarity(x[:, None], x[None], dim=-1)
    counts = np.zeros(len(x))
    for i in range(len(x)):
        for j in sorted((j for j in range(len(x)) if j != i), key=lambda j: (-float(c[i, j]), j))[:k]:
            counts[j] += 1
    return counts


def test_against_counting() -> None:
    x = drawn(60, 5)
    counts, found = counted(x, 4), hubness(x, k=4)
    assert found.skewness == pytest.approx(float(scipy.stats.skew(counts)))
    assert found.robin_hood == pytest.approx(np.abs(counts - 4).sum() / (2 * counts.sum()))
    assert found.antihubs == pytest.approx((counts == 0).mean())
    assert found.hubs == pytest.approx((counts >= 8).mean())
    assert (found.largest, found.item) == (counts.max(), counts.argmax())
    assert found.places == 4


def test_a_planted_hub_and_an_even_ring() -> None:
    angle = torch.arange(40, dtype=torch.float64) * 2 * math.pi / 40
    ring = torch.stack([angle.cos(), angle.sin()], 1)
    even = hubness(ring, k=2)  # each is a neighbour of the two beside it
    assert (even.skewness, even.robin_hood, even.antihubs, even.largest) == (0, 0, 0, 2)
    star = torch.cat([torch.eye(40), torch.ones(1, 40)])  # orthogonal to each other, near to the centre
    hub = hubness(star, k=1)
    assert (hub.largest, hub.item) == (40, 40)
    assert hub.skewness > 5 and hub.antihubs > 0.9


def test_a_common_direction_makes_hubs() -> None:
    """Directions all round the sphere have none; an offset gives it a centre, and what lies near that is near to everything."""
    x = drawn(800, 50)
    around, one_way = hubness(x, k=10), hubness(x + 1, k=10)
    assert around.skewness < 0.6 < 1.4 < one_way.skewness
    assert around.robin_hood < one_way.robin_hood and around.antihubs < one_way.antihubs


def test_what_queries_find() -> None:
    documents = torch.eye(4)
    queries = torch.tensor([[1.0, 0.1, 0, 0], [1, 0, 0.1, 0], [0, 0, 0.1, 1]])
    found = hubness(documents, queries, k=1)
    assert (found.largest, found.item, found.antihubs) == (2, 0, 0.5)
    assert found.places == 0.75


def test_the_item_of_a_sample_is_its_row_among_all() -> None:
    x = torch.cat([torch.eye(60), torch.ones(1, 60)])
    found = hubness(x, k=1, rows=50, seed=1)
    assert found.item in (60, *range(60)) and found.places == 1
    assert hubness(x, k=1, rows=61) == hubness(x, k=1)


def test_memory_and_bad_input() -> None:
    with Held() as held:
        hubness(torch.randn(50_000, 64), torch.randn(300, 64))
    assert held.peak < 300 * 2**20
    with pytest.raises(ParameterError, match="from 1 to 3"):
        hubness(torch.eye(4), k=4)
    with pytest.raises(DataError, match="one dimension"):
        hubness(torch.eye(4), torch.ones(2, 3), k=1)
