"""Classification: what a simple classifier on frozen vectors can tell apart.

Protocols this covers: MTEB's classification tasks (``samples_per_label = 8``, ``experiments = 10``, ``seed = 42``: logistic
regression on few texts of each class, as they are, neither scaled nor tuned) and SentEval's transfer tasks (all training texts, C
chosen on dev where there is one; a single file is cross-validated in 10 folds). Neither scales features; ``standardize`` does.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from dipole.core.errors import DataError
from dipole.core.extras import need
from dipole.core.part import at_least, part, positive, switch
from dipole.evaluate.bootstrap import Floats, weighted_intervals
from dipole.evaluate.kind import SAMPLES, result
from dipole.evaluate.labelled import Codes, LabelledTask, class_names, codes_of, macro_f1, read_labelled, shown
from dipole.evaluate.result import Result
from dipole.evaluate.vectors import Encode, Sides
from dipole.pairwise.topk import topk_search

__all__ = ["Classification"]

GRID = tuple(2.0**power for power in range(-2, 4))  # SentEval's values of C


@part
class Classification:
    """Classes by a linear probe, by nearest neighbours and by nearest class mean, on frozen vectors."""

    samples_per_label: int = at_least(0, 0, "train on so many items of each class, drawn at random; 0: all (MTEB: 8)")
    experiments: int = at_least(1, 1, "draw, train and test so often, and average (MTEB: 10)")
    neighbours: int = at_least(1, 5, "k of the nearest neighbours")
    c: float = positive(1.0, "inverse weight of the probe's L2 penalty; chosen on dev where there is one and all items are used")
    standardize: bool = switch(False, "scale each dimension to mean 0 and deviation 1, by the training vectors; MTEB and SentEval do not")
    folds: int = at_least(2, 10, "of the cross-validation of a single file")
    max_iter: int = at_least(1, 100, "steps of the probe's solver (MTEB and sklearn: 100)")

    files: ClassVar[str] = "FOLDER of train.* and test.*, perhaps dev.*, each with text and label; or one FILE, which is cross-validated"
    unit: ClassVar[str] = "items"
    two_sided: ClassVar[bool] = False
    primary: ClassVar[str] = "accuracy"
    policy: ClassVar[Mapping[str, str]] = {
        "vectors": "of unit length",
        "probe": "sklearn's LogisticRegression (multinomial, lbfgs, L2)",
        "ties": "neighbours: most votes, then the larger sum of cosines; class means: the class that comes first in the alphabet",
        "unseen": "a test label that is not in the training items can never be right; counted",
        "undefined": "one class only raises an error",
        "interval": "95% percentile bootstrap over test items, the trained classifiers held fixed",
    }

    def definitions(self) -> dict[str, str]:
        mean = f", mean over {self.experiments} draws of {self.samples_per_label} items a class" if self.samples_per_label else ""
        return {
            "accuracy": f"share of test items whose class the linear probe names{mean}",
            "macro_f1": f"mean over classes of the linear probe's F1{mean}",
            "knn_accuracy": f"share of test items whose class the {self.neighbours} nearest training items (cosine) vote for{mean}",
            "centroid_accuracy": f"share of test items whose nearest class mean (cosine) is that of their own class{mean}",
        }

    def read(self, place: str, name: str = "") -> LabelledTask:
        return read_labelled(place, name)

    def __call__(
        self, task: LabelledTask, encode: Encode, encode_keys: Encode | None = None, *, seed: int = 0, samples: int = SAMPLES
    ) -> Result:
        """Raises DataError for one class only, and where a single file has fewer items than folds."""
        names = class_names(task.name, task.test, task.train, task.dev)
        sides = Sides(encode)
        vectors = sides.queries(task.test.items, "test items")
        truth = codes_of(task.test.labels, names)
        rounds: list[dict[str, Codes]] = []
        counts = {"items": len(truth), "train_items": 0, "dev_items": 0, "classes": len(names)}
        c, probes = self.c, _Probes(self)
        if task.train is None:
            rounds.append(self._cross_validated(vectors, truth, len(names), probes, seed, task.name))
        else:
            classes = codes_of(task.train.labels, names)
            draws = self._draws(classes, seed)
            used = np.unique(np.concatenate(draws))  # only what is drawn is encoded
            known = sides.queries([task.train.items[i] for i in used], "training items")
            classes = classes[used]
            counts |= {"train_items": len(task.train), "test_labels_unseen": int((~np.isin(truth, classes)).sum())}
            if task.dev is not None and not self.samples_per_label:
                counts["dev_items"] = len(task.dev)
                c = self._chosen_c(known, classes, sides.queries(task.dev.items, "dev items"), codes_of(task.dev.labels, names), probes)
            for drawn in (np.searchsorted(used, draw) for draw in draws):
                rounds.append(self._predict(known[drawn], classes[drawn], vectors, len(names), probes, c))

        def figures(weights: Floats) -> dict[str, Floats]:
            total = weights.sum(axis=1)
            right = {way: np.mean([r[way] == truth for r in rounds], axis=0) for way in rounds[0]}
            f1 = np.mean([macro_f1(truth, r["probe"], weights, len(names)) for r in rounds], axis=0)
            return {
                "accuracy": weights @ right["probe"] / total,
                "macro_f1": f1,
                "knn_accuracy": weights @ right["knn"] / total,
                "centroid_accuracy": weights @ right["centroid"] / total,
            }

        metrics = {name: float(values[0]) for name, values in figures(np.ones((1, len(truth)))).items()}
        columns: dict[str, Any] = {"item": shown(task.test.items), "label": list(task.test.labels)}
        for way in ("probe", "knn", "centroid"):
            columns[way] = [names[code] for code in rounds[0][way]]
            columns[f"{way}_correct"] = np.mean([r[way] == truth for r in rounds], axis=0)
        notes = probes.notes() + ((f"C = {c:g} was chosen on dev",) if counts["dev_items"] else ())
        if task.train is None:
            notes += (f"a single file: {self.folds}-fold cross-validation",)
        return result(self, task.name, sides, metrics, weighted_intervals(len(truth), figures, seed, samples), columns, counts, seed, notes)

    def _draws(self, classes: Codes, seed: int) -> list[Codes]:
        """The training items of each experiment, drawn as MTEB draws: the order is put through one random permutation again and
        again, and the first of each class are taken.
        """
        if not self.samples_per_label:
            return [np.arange(len(classes))]
        order, found = np.arange(len(classes)), []
        for _ in range(self.experiments):
            np.random.RandomState(seed).shuffle(order)
            seen = np.zeros(classes.max() + 1, dtype=np.int64)
            chosen = []
            for place in order:
                if seen[classes[place]] < self.samples_per_label:
                    chosen.append(place)
                    seen[classes[place]] += 1
            found.append(np.array(chosen))
        return found

    def _cross_validated(
        self, vectors: torch.Tensor, truth: Codes, classes: int, probes: _Probes, seed: int, task: str
    ) -> dict[str, Codes]:
        if len(truth) < self.folds:
            raise DataError(f"task {task}: cross-validation needs at least one item a fold, {self.folds}", value=len(truth))
        chance = np.random.default_rng(seed)
        fold = np.empty(len(truth), dtype=np.int64)
        order = np.lexsort((chance.random(len(truth)), truth))  # class by class, shuffled within: every fold gets its share
        fold[order] = np.arange(len(truth)) % self.folds
        found = {way: np.empty(len(truth), dtype=np.int64) for way in ("probe", "knn", "centroid")}
        for held_out in range(self.folds):
            test, train = np.flatnonzero(fold == held_out), np.flatnonzero(fold != held_out)
            for way, said in self._predict(vectors[train], truth[train], vectors[test], classes, probes, self.c).items():
                found[way][test] = said
        return found

    def _chosen_c(self, known: torch.Tensor, classes: Codes, dev: torch.Tensor, truth: Codes, probes: _Probes) -> float:
        right = [float((probes.predict(known, classes, dev, c) == truth).mean()) for c in GRID]
        return GRID[int(np.argmax(right))]

    def _predict(
        self, known: torch.Tensor, classes: Codes, vectors: torch.Tensor, count: int, probes: _Probes, c: float
    ) -> dict[str, Codes]:
        return {
            "probe": probes.predict(known, classes, vectors, c),
            "knn": vote(known, classes, vectors, count, self.neighbours),
            "centroid": nearest_mean(known, classes, vectors),
        }


class _Probes:
    """Trains linear probes and remembers how many did not converge."""

    def __init__(self, kind: Classification) -> None:
        self._linear = need("sklearn.linear_model", "evaluate", "linear probes")
        self._kind = kind
        self._unconverged = self._count = 0

    def predict(self, known: torch.Tensor, classes: Codes, vectors: torch.Tensor, c: float) -> Codes:
        """(N,) the class the probe names. Where the training items have one class, that class."""
        present = np.unique(classes)
        if len(present) == 1:
            return np.full(len(vectors), present[0])
        train, test = known.numpy(), vectors.numpy()
        if self._kind.standardize:
            mean, deviation = train.mean(axis=0), train.std(axis=0)
            deviation[deviation == 0] = 1.0
            train, test = (train - mean) / deviation, (test - mean) / deviation
        probe = self._linear.LogisticRegression(C=c, max_iter=self._kind.max_iter)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # convergence is counted below
            probe.fit(train, classes)
        self._count += 1
        self._unconverged += bool((np.asarray(probe.n_iter_) >= self._kind.max_iter).any())
        found: Codes = probe.predict(test)
        return found

    def notes(self) -> tuple[str, ...]:
        """What a reader should know of the training."""
        if not self._unconverged:
            return ()
        return (f"{self._unconverged} of {self._count} probes stopped after {self._kind.max_iter} steps without converging",)


def vote(known: torch.Tensor, classes: Codes, vectors: torch.Tensor, count: int, neighbours: int) -> Codes:
    """(N,) the class most of the nearest items have; between equal votes the larger sum of cosines decides."""
    top = topk_search(vectors, known, k=min(neighbours, len(known)))
    voted = torch.from_numpy(classes)[top.ids]
    votes = torch.zeros(len(vectors), count, dtype=torch.float64)
    votes.scatter_add_(1, voted, torch.ones_like(voted, dtype=torch.float64))
    closeness = torch.zeros_like(votes).scatter_add_(1, voted, top.values.double())
    found: Codes = (votes + closeness / (2 * neighbours + 2)).argmax(dim=1).numpy()
    return found


def nearest_mean(known: torch.Tensor, classes: Codes, vectors: torch.Tensor) -> Codes:
    """(N,) the class whose mean vector has the largest cosine."""
    present = np.unique(classes)
    found: Codes = present[topk_search(vectors, class_means(known, classes, present), k=1).ids[:, 0].numpy()]
    return found


def class_means(vectors: torch.Tensor, classes: Codes, present: Sequence[int] | Codes) -> torch.Tensor:
    """(C, d) the mean vector of each class, of unit length."""
    place = torch.from_numpy(np.searchsorted(np.asarray(present), classes))
    sums = torch.zeros(len(present), vectors.shape[1], dtype=torch.float64).index_add_(0, place, vectors.double())
    return torch.nn.functional.normalize(sums, dim=1).float()
