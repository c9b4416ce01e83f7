"""Out-of-domain detection against sklearn and scipy."""

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn")

from scipy.spatial.distance import mahalanobis as scipy_mahalanobis
from sklearn import covariance
from sklearn.metrics import roc_auc_score, roc_curve

from dipole.core.errors import DataError, UsageError
from dipole.evaluate.kinds.out_of_domain import DomainTask, OutOfDomain, mahalanobis
from tests.evaluate.cases import domains


def data(seed=0):
    chance = np.random.default_rng(seed)
    known = np.repeat(np.eye(6)[:3], 25, axis=0) + 0.4 * chance.normal(size=(75, 6))
    inside = np.repeat(np.eye(6)[:3], 15, axis=0) + 0.4 * chance.normal(size=(45, 6))
    outside = np.eye(6)[3] * 0.6 + 0.5 * chance.normal(size=(40, 6))
    table = np.concatenate([known, inside, outside])
    labels = [f"c{i // 25}" for i in range(75)]
    task = DomainTask("ood", list(range(75)), list(range(75, 120)), list(range(120, 160)), labels)
    return task, table / np.linalg.norm(table, axis=1, keepdims=True)


def test_scores_and_measures_are_sklearns_and_scipys():
    task, unit = data()
    found = OutOfDomain(neighbours=4)(task, lambda items: unit[items], samples=200)
    cosine = unit[75:] @ unit[:75].T
    label = np.array([c // 25 for c in range(75)])
    means = np.stack([unit[:75][label == c].mean(axis=0) for c in range(3)])
    shrunk = covariance.LedoitWolf(assume_centered=True).fit(unit[:75] - means[label]).covariance_
    inverse = np.linalg.inv(shrunk)
    scores = {
        "max_cosine": cosine.max(axis=1),
        "knn": np.sort(cosine, axis=1)[:, -4],
        "mahalanobis": np.array([-min(scipy_mahalanobis(x, m, inverse) for m in means) for x in unit[75:]]),
    }
    truth = np.arange(85) < 45
    for way, values in scores.items():
        np.testing.assert_allclose(found.per_item[way], values, rtol=2e-4, atol=1e-5)
        assert found.metrics[f"auroc_{way}"] == pytest.approx(roc_auc_score(truth, values))
        fpr, tpr, _ = roc_curve(truth, values, drop_intermediate=False)
        assert found.metrics[f"fpr@95_{way}"] == pytest.approx(fpr[np.argmax(tpr >= 0.95)])
        low, high = found.intervals[f"auroc_{way}"]
        assert low < found.metrics[f"auroc_{way}"] < high <= 1.0


def test_without_labels_there_is_one_mean():
    _, unit = data()
    known = torch.from_numpy(unit[:75])
    shrunk = covariance.LedoitWolf().fit(unit[:75]).covariance_
    wanted = [scipy_mahalanobis(x, unit[:75].mean(axis=0), np.linalg.inv(shrunk)) for x in unit[75:80]]
    np.testing.assert_allclose(mahalanobis(known, None, torch.from_numpy(unit[75:80])), wanted, rtol=1e-6)


def test_fewer_items_than_dimensions_are_fine():
    known = torch.nn.functional.normalize(torch.randn(5, 40), dim=1)
    assert np.isfinite(mahalanobis(known, None, known)).all()


def test_what_is_far_is_found_and_what_is_alike_is_not():
    task, unit = data()
    far = unit.copy()
    far[120:] = np.eye(6)[5]
    assert OutOfDomain(neighbours=3)(task, lambda i: far[i], samples=20).metrics["auroc_knn"] == 1.0
    alike = unit.copy()
    alike[120:] = np.repeat(np.eye(6)[:3], 14, axis=0)[:40] + 0.4 * np.random.default_rng(9).normal(size=(40, 6))
    found = OutOfDomain(neighbours=3)(task, lambda i: alike[i], samples=200)
    low, high = found.intervals["auroc_knn"]
    assert low < 0.5 < high


def test_files(tmp_path):
    task = OutOfDomain().read(str(domains(tmp_path)))
    assert (len(task.reference), len(task.inside), len(task.outside)) == (4, 4, 8)
    assert task.labels == ["cat", "cat", "dog", "dog"]
    (tmp_path / "train.jsonl").write_text('{"text": "x"}\n')
    with pytest.raises(UsageError, match=r"reference\.jsonl and train\.jsonl are both the reference split"):
        OutOfDomain().read(str(tmp_path))
    with pytest.raises(DataError, match="at least two reference items"):
        OutOfDomain()(DomainTask("x", ["a"], ["b"], ["c"]), lambda i: torch.eye(3)[: len(i)])
