"""Clustering against sklearn's measures and a search over all matchings."""

import itertools

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn")

from sklearn import metrics
from sklearn.cluster import KMeans

from dipole.core.errors import DataError
from dipole.evaluate.kinds.clustering import Clustering
from dipole.evaluate.labelled import Labelled, LabelledTask


def task(vectors, labels):
    return LabelledTask("c", Labelled(list(range(len(labels))), [f"c{c}" for c in labels])), lambda items: torch.as_tensor(vectors)[items]


def noisy(seed=0, n=90, classes=4):
    chance = np.random.default_rng(seed)
    labels = chance.integers(0, classes, n)
    return np.eye(classes)[labels] + 0.45 * chance.normal(size=(n, classes)), labels


@pytest.mark.parametrize("clusters", [0, 3, 6])
def test_measures_are_sklearns(clusters):
    vectors, labels = noisy()
    found = Clustering(runs=3, clusters=clusters)(*task(vectors, labels), seed=7, samples=50)
    unit = torch.nn.functional.normalize(torch.as_tensor(vectors).float(), dim=1).numpy()
    wanted = {name: [] for name in found.metrics}
    for run in range(3):
        said = KMeans(clusters or 4, n_init=1, random_state=7 + run).fit_predict(unit)
        wanted["v_measure"].append(metrics.v_measure_score(labels, said))
        wanted["nmi"].append(metrics.normalized_mutual_info_score(labels, said))
        wanted["ari"].append(metrics.adjusted_rand_score(labels, said))
        wanted["homogeneity"].append(metrics.homogeneity_score(labels, said))
        wanted["completeness"].append(metrics.completeness_score(labels, said))
        k = max(clusters or 4, 4)
        table = np.zeros((k, k), dtype=int)
        np.add.at(table, (said, labels), 1)
        wanted["acc"].append(max(sum(table[i, p[i]] for i in range(k)) for p in itertools.permutations(range(k))) / 90)
    for name, values in wanted.items():
        assert found.metrics[name] == pytest.approx(np.mean(values), abs=1e-9), name
        low, high = found.intervals[name]
        assert low < found.metrics[name] < high  # repeated items raise these measures; the interval is centred


def test_clear_clusters_are_found_whatever_the_seed():
    labels = np.repeat(np.arange(3), 20)
    vectors = np.eye(3)[labels] + 0.01 * np.random.default_rng(0).normal(size=(60, 3))
    for seed in (0, 11):
        found = Clustering()(*task(vectors, labels), seed=seed, samples=50)
        assert found.metrics == pytest.approx(dict.fromkeys(found.metrics, 1.0))
        assert found.counts["clusters"] == 3


def test_noise_is_near_chance():
    labels = np.random.default_rng(1).integers(0, 3, 300)
    found = Clustering()(*task(np.random.default_rng(2).normal(size=(300, 8)), labels), samples=50)
    assert found.metrics["v_measure"] < 0.05
    assert found.metrics["acc"] < 0.5


def test_copies_are_no_clusters():
    with pytest.raises(DataError, match=r"k-means with 2 clusters needs as many distinct vectors \(got 1\)"):
        Clustering()(*task(np.ones((6, 3)), np.array([0, 1] * 3)))
