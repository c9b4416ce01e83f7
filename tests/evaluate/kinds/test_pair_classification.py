"""Pair classification against sentence-transformers' own evaluator, and the threshold that comes from dev."""

import numpy as np
import pytest
import torch

pytest.importorskip("sentence_transformers")

from sentence_transformers.sentence_transformer import evaluation

pytest.importorskip("sklearn")

from sklearn import metrics

from dipole.core.errors import DataError
from dipole.evaluate.kinds.pair_classification import JudgedPairs, PairClassification, PairTask


def at_angle(texts):
    angles = torch.tensor([float(text) for text in texts], dtype=torch.float64)
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def pairs(seed, n=150):
    chance = np.random.default_rng(seed)
    positive = chance.random(n) < 0.45
    apart = np.abs(chance.normal(np.where(positive, 0.3, 0.8), 0.3))
    return JudgedPairs(["0"] * n, [repr(float(a)) for a in apart], positive.tolist()), np.cos(apart), positive


@pytest.mark.parametrize("seed", range(3))
def test_figures_are_those_of_sentence_transformers(seed):
    test, cosine, positive = pairs(seed)
    found = PairClassification()(PairTask("pairs", test), at_angle, samples=100).metrics
    other = evaluation.BinaryClassificationEvaluator
    accuracy, cut = other.find_best_acc_and_threshold(cosine, positive.astype(int), True)
    assert (found["accuracy"], found["accuracy_threshold"]) == pytest.approx((accuracy, cut), abs=1e-6)
    f1, precision, recall, cut = other.find_best_f1_and_threshold(cosine, positive.astype(int), True)
    assert [found[n] for n in ("f1", "precision", "recall", "f1_threshold")] == pytest.approx([f1, precision, recall, cut], abs=1e-6)
    assert found["ap"] == pytest.approx(metrics.average_precision_score(positive, cosine), abs=1e-6)


def test_thresholds_come_from_dev_where_there_is_one():
    test, cosine, positive = pairs(5)
    dev, dev_cosine, dev_positive = pairs(6)
    found = PairClassification()(PairTask("pairs", test, dev), at_angle, samples=200)
    _, cut = evaluation.BinaryClassificationEvaluator.find_best_acc_and_threshold(dev_cosine, dev_positive.astype(int), True)
    assert found.metrics["accuracy_threshold"] == pytest.approx(cut, abs=1e-6)
    assert found.metrics["accuracy"] == pytest.approx(((cosine >= cut) == positive).mean())
    f1_cut = found.metrics["f1_threshold"]
    assert found.metrics["f1"] == pytest.approx(metrics.f1_score(positive, cosine >= f1_cut))
    assert found.per_item["accepted"] == (cosine >= f1_cut).tolist()
    flattering = PairClassification()(PairTask("pairs", test), at_angle, samples=200)
    assert flattering.metrics["accuracy"] >= found.metrics["accuracy"]
    assert "flatter" in flattering.notes[0] and not found.notes
    low, high = found.intervals["accuracy_threshold"]
    assert low < found.metrics["accuracy_threshold"] < high


def test_the_intervals_of_ap_cover(seed=0):
    """The interval of AP holds the AP of a very large sample in about 95 of 100 cases."""
    _, cosine, positive = pairs(99, 40_000)
    truth = metrics.average_precision_score(positive, cosine)
    inside = 0
    for seed in range(60):
        task = PairTask("pairs", pairs(seed, 200)[0])
        low, high = PairClassification()(task, at_angle, samples=200).intervals["ap"]
        inside += low <= truth <= high
    assert 50 <= inside <= 60


def test_labels_are_zero_or_one(tmp_path):
    (tmp_path / "p.csv").write_text("sentence1,sentence2,label\na,b,1\nc,d,2\n")
    with pytest.raises(DataError, match=r"p\.csv:3, column 'label': a label must be 1 \(belong together\) or 0 \(got '2'\)"):
        PairClassification().read(str(tmp_path / "p.csv"))
    (tmp_path / "p.csv").write_text("sentence1,label\na,1\n")
    with pytest.raises(DataError, match=r"no column holds the positive: the columns are 'sentence1', 'label'; call it 'sentence2'"):
        PairClassification().read(str(tmp_path / "p.csv"))


def test_dev_with_one_class_is_refused():
    test, *_ = pairs(1)
    dev = JudgedPairs(["0", "1"], ["0", "1"], [True, True])
    with pytest.raises(DataError, match=r"the dev pairs must hold both classes.*2 of 2"):
        PairClassification()(PairTask("pairs", test, dev), at_angle)
