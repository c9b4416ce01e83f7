"""WEAT against its formula in loops, against enumerating every split, and on a planted association."""

from __future__ import annotations

import itertools
import statistics

import pytest
import torch

from dipole.core.errors import DataError, ParameterError
from dipole.diagnostics import weat


def drawn(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_effect_and_p_against_loops() -> None:
    x, y, a, b = (drawn(n, 6, s) for s, n in enumerate((4, 4, 3, 5)))

    def lean(w: torch.Tensor) -> float:
        cos = torch.nn.functional.cosine_similarity
        return statistics.mean(float(cos(w, v, dim=0)) for v in a) - statistics.mean(float(cos(w, v, dim=0)) for v in b)

    first, second = [lean(w) for w in x], [lean(w) for w in y]
    both = first + second
    effect = (statistics.mean(first) - statistics.mean(second)) / statistics.stdev(both)
    observed = sum(first) - sum(second)
    splits = [2 * sum(both[i] for i in part) - sum(both) for part in itertools.combinations(range(8), 4)]
    found = weat(x, y, a, b)
    assert found.effect == pytest.approx(effect, rel=1e-9)
    assert found.p == pytest.approx(sum(s >= observed - 1e-9 for s in splits) / 70)
    assert found.exact and found.splits == 70
    sampled = weat(x, y, a, b, permutations=60)
    assert not sampled.exact and abs(sampled.p - found.p) < 0.25
    assert abs(weat(x.repeat(3, 1), y.repeat(3, 1), a, b).p - weat(x.repeat(3, 1), y.repeat(3, 1), a, b, seed=1).p) < 0.03


def test_symmetries() -> None:
    x, y, a, b = (drawn(5, 6, s) for s in range(4))
    assert weat(y, x, a, b).effect == pytest.approx(-weat(x, y, a, b).effect)
    assert weat(x, y, b, a).effect == pytest.approx(-weat(x, y, a, b).effect)
    assert abs(weat(x, y, a, b).effect) <= 2
    assert weat(3 * x, y, 2 * a, b).effect == pytest.approx(weat(x, y, a, b).effect)


def test_a_planted_association() -> None:
    a, b = torch.eye(10)[:3].double(), torch.eye(10)[5:8].double()
    x, y = a.sum(0) + 0.5 * drawn(8, 10, 1), b.sum(0) + 0.5 * drawn(8, 10, 2)
    found = weat(x, y, a, b)
    assert found.effect > 1.5 and found.p < 1e-3
    assert weat(drawn(8, 10, 3), drawn(8, 10, 4), a, b).p > 0.05


def test_bad_input_is_named() -> None:
    x = drawn(4, 3)
    with pytest.raises(DataError, match="lean alike"):
        weat(x, x, x[:2], x[:2])
    with pytest.raises(DataError, match="one dimension"):
        weat(x, x, drawn(2, 4), x)
    with pytest.raises(ParameterError, match="permutations"):
        weat(x, x, x, x, permutations=0)
