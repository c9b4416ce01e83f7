"""Curves of two classes against sklearn, and resamples against really repeating the items."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn import metrics

from dipole.evaluate.binary import Scored
from dipole.evaluate.bootstrap import mean_intervals, statistic_interval, sums_by, weighted_intervals


def data(seed, n=200, decimals=1):
    chance = np.random.default_rng(seed)
    positive = chance.random(n) < 0.4
    return np.round(chance.normal(size=n) + positive, decimals), positive


@pytest.mark.parametrize("decimals", [1, 8], ids=["many ties", "no ties"])
@pytest.mark.parametrize("seed", range(3))
def test_areas_are_sklearns(seed, decimals):
    scores, positive = data(seed, decimals=decimals)
    curve = Scored(scores, positive).curve()
    assert curve.average_precision()[0] == pytest.approx(metrics.average_precision_score(positive, scores), rel=1e-12)
    assert curve.auroc()[0] == pytest.approx(metrics.roc_auc_score(positive, scores), rel=1e-12)
    fpr, tpr, _ = metrics.roc_curve(positive, scores, drop_intermediate=False)
    assert curve.fpr_at(0.95)[0] == pytest.approx(fpr[np.argmax(tpr >= 0.95)], rel=1e-12)


def test_best_cuts_against_trying_every_threshold():
    scores, positive = data(4)
    curve = Scored(scores, positive).curve()
    tried = {}
    for threshold in [*np.unique(scores)]:
        said = scores >= threshold
        tried[threshold] = metrics.f1_score(positive, said), (said == positive).mean(), said[positive].mean() - said[~positive].mean()
    for place, values in enumerate((curve.f1(), curve.accuracy(), curve.youden())):
        best, cut = curve.best(values)
        assert best[0] == pytest.approx(max(three[place] for three in tried.values()), rel=1e-12)
        said = scores >= cut[0]
        again = metrics.f1_score(positive, said), (said == positive).mean(), said[positive].mean() - said[~positive].mean()
        assert again[place] == pytest.approx(best[0], rel=1e-12)
        assert cut[0] not in scores


def test_a_resample_is_the_repeated_items():
    scores, positive = data(5, n=60)
    counts = np.random.default_rng(6).integers(0, 4, size=(5, 60)).astype(float)
    curves = Scored(scores, positive).curve(counts)
    for row, drawn in enumerate(counts.astype(int)):
        again = Scored(np.repeat(scores, drawn), np.repeat(positive, drawn)).curve()
        assert curves.average_precision()[row] == pytest.approx(again.average_precision()[0], rel=1e-12)
        assert curves.auroc()[row] == pytest.approx(again.auroc()[0], rel=1e-12)
        assert curves.fpr_at(0.9)[row] == pytest.approx(again.fpr_at(0.9)[0], rel=1e-12)
        assert curves.f1()[row].max() == pytest.approx(again.f1()[0].max(), rel=1e-12)


def test_a_missing_class_is_undefined_and_not_zero():
    curve = Scored([0.1, 0.2], [True, True]).curve()
    assert np.isnan(curve.auroc()[0])
    assert np.isnan(Scored([0.1, 0.2], [False, False]).curve().average_precision()[0])


def test_weighted_intervals_are_those_of_resampled_items():
    values = np.random.default_rng(7).normal(size=80)
    drawn = weighted_intervals(80, lambda w: {"mean": w @ values / 80}, seed=3, samples=400)["mean"]
    assert drawn == pytest.approx(statistic_interval([values], lambda v: v.mean(axis=1), seed=3, samples=400), abs=1e-12)
    assert mean_intervals({"mean": values}, seed=3, samples=400)["mean"] == pytest.approx(drawn, abs=1e-12)


def test_groups_keep_their_sizes_and_undefined_resamples_are_left_out():
    seen = []
    weighted_intervals([3, 5], lambda w: seen.append(w) or {"x": w[:, 0]}, samples=50)
    assert (seen[0][:, :3].sum(axis=1) == 3).all()
    assert (seen[0][:, 3:].sum(axis=1) == 5).all()
    found = weighted_intervals(4, lambda w: {"some": np.where(w[:, 0] > 0, 1.0, np.nan), "none": np.full(len(w), np.nan)}, samples=50)
    assert found["some"] == (1.0, 1.0)
    assert np.isnan(found["none"]).all()


def test_sums_by_code():
    weights, codes = np.arange(12.0).reshape(2, 6), np.array([2, 0, 2, 3, 0, 2])
    wanted = [[sum(row[codes == c]) for c in range(5)] for row in weights]
    np.testing.assert_allclose(sums_by(weights, codes, 5), wanted)
