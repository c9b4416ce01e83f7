"""Few-shot episodes against loops over the same draws, and against what chance gives."""

import numpy as np
import pytest
import torch

from dipole.core.errors import DataError
from dipole.evaluate.kinds.few_shot import FewShot
from dipole.evaluate.labelled import Labelled, LabelledTask


def task(vectors, labels):
    return LabelledTask("few", Labelled(list(range(len(labels))), [f"c{c:02}" for c in labels])), lambda items: torch.as_tensor(vectors)[
        items
    ]


def test_episodes_against_loops():
    chance = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), 12)
    vectors = np.eye(6)[labels] + 0.7 * chance.normal(size=(72, 6))
    found = FewShot(ways=3, shots=2, queries=4, episodes=30)(*task(vectors, labels), seed=5, samples=100)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    draw = np.random.default_rng(5)
    for episode in range(30):
        chosen = draw.choice(range(6), 3, replace=False)
        drawn = [draw.choice(np.flatnonzero(labels == c), 6, replace=False) for c in chosen]
        assert found.per_item["classes"][episode] == [f"c{c:02}" for c in chosen]
        right = nearest = 0
        for way in range(3):
            for query in drawn[way][2:]:
                means = [unit[d[:2]].mean(axis=0) for d in drawn]
                right += np.argmax([unit[query] @ m / np.linalg.norm(m) for m in means]) == way
                nearest += np.argmax([(unit[d[:2]] @ unit[query]).max() for d in drawn]) == way
        assert found.per_item["accuracy"][episode] == pytest.approx(right / 12)
        assert found.per_item["nearest_accuracy"][episode] == pytest.approx(nearest / 12)
    assert found.metrics["accuracy"] == pytest.approx(np.mean(found.per_item["accuracy"]))


def test_noise_gives_chance_and_clusters_give_everything():
    labels = np.repeat(np.arange(8), 20)
    noise = FewShot(ways=4, shots=5, queries=5, episodes=200)(*task(np.random.default_rng(1).normal(size=(160, 30)), labels), samples=500)
    low, high = noise.intervals["accuracy"]
    assert noise.metrics["accuracy"] == pytest.approx(0.25, abs=0.03)  # a little below: what is support lacks among the queries
    assert 0.01 < high - low < 0.06
    perfect = FewShot(ways=4, shots=1, queries=5, episodes=50)(*task(np.eye(8)[labels], labels), samples=100)
    assert perfect.metrics == {"accuracy": 1.0, "nearest_accuracy": 1.0}
    assert perfect.intervals["accuracy"] == (1.0, 1.0)


def test_more_shots_help():
    labels = np.repeat(np.arange(5), 40)
    vectors = np.eye(5)[labels] + np.random.default_rng(2).normal(size=(200, 5))
    one, five = (FewShot(ways=5, shots=k, queries=5, episodes=100)(*task(vectors, labels), samples=100) for k in (1, 5))
    assert one.intervals["accuracy"][1] < five.intervals["accuracy"][0]


def test_small_classes_are_left_out_and_too_few_are_refused():
    labels = np.array([0] * 6 + [1] * 6 + [2] * 3)
    vectors = np.eye(3)[labels]
    found = FewShot(ways=2, shots=2, queries=3, episodes=5)(*task(vectors, labels), samples=10)
    assert found.counts["classes_left_out"] == 1
    assert not any("c02" in classes for classes in found.per_item["classes"])
    with pytest.raises(DataError, match=r"3 classes must have at least 2 \+ 3 items \(got '2 classes do'\)"):
        FewShot(ways=3, shots=2, queries=3, episodes=5)(*task(vectors, labels))
