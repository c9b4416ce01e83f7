"""Length bias against loops, and of encoders with a known one."""

import numpy as np
import pytest
import torch

from dipole.core.errors import DataError
from dipole.evaluate.kinds.length_bias import LengthBias
from dipole.evaluate.scored_pairs import ScoredPairs


def pairs(seed=0, n=80):
    chance = np.random.default_rng(seed)
    texts = [[" ".join(["w"] * int(k)) + f" {i}{side}" for i, k in enumerate(chance.integers(1, 12, n))] for side in "ab"]
    return ScoredPairs("l", *texts, (chance.random(n) * 5).tolist())


def encoder(task, cosine_of):
    """Two-dimensional vectors whose cosine for pair i is what is asked for."""
    gold = np.array(task.scores)
    gold = (gold - gold.min()) / np.ptp(gold)
    table = {}
    for i, (a, b) in enumerate(zip(task.first, task.second, strict=True)):
        angle = np.arccos(np.clip(cosine_of(gold[i], len(a.split()), len(b.split())), -1, 1))
        table[a], table[b] = (1.0, 0.0), (np.cos(angle), np.sin(angle))
    return lambda items: torch.tensor([table[x] for x in items])


def test_groups_against_loops():
    task = pairs()
    found = LengthBias()(task, encoder(task, lambda g, n, m: g * 0.5), samples=100)
    apart, gold, group = (np.array(found.per_item[name]) for name in ("length_difference", "score", "group"))
    lengths = [(len(a.split()), len(b.split())) for a, b in zip(task.first, task.second, strict=True)]
    np.testing.assert_allclose(apart, [abs(n - m) / max(n, m) for n, m in lengths])
    over = np.array(found.per_item["cosine"]) - (gold - gold.min()) / np.ptp(gold)
    for g in sorted(set(group)):
        assert found.metrics[f"error@{g}"] == pytest.approx(np.abs(over[group == g]).mean())
        assert all(apart[group == g].max() <= apart[group == h].min() for h in set(group) if h > g)
    assert found.metrics["bias"] == pytest.approx(found.metrics["error@4"] - found.metrics["error@1"])


def test_an_encoder_that_prefers_equal_lengths_is_found_and_a_fair_one_is_not():
    task = pairs(1, 200)
    biased = LengthBias()(task, encoder(task, lambda g, n, m: g * (1 - abs(n - m) / max(n, m))), samples=300)
    assert biased.intervals["bias"][0] > 0.1
    assert biased.intervals["signed_bias"][1] < -0.1
    fair = LengthBias()(task, encoder(task, lambda g, n, m: g), samples=100)
    assert fair.metrics["bias"] == pytest.approx(0, abs=1e-3)  # what arccos keeps of a float32 cosine near 1


def test_equal_lengths_are_nothing_to_compare():
    with pytest.raises(DataError, match="differences of length are all equal"):
        LengthBias()(ScoredPairs("l", ["a", "b", "c"], ["d", "e", "f"], [1, 2, 3]), lambda i: torch.eye(6)[: len(i)])
