"""Clustering: do k-means clusters of the vectors agree with the labels?

k-means starts at random, so it runs several times; figures are means over the runs, and intervals vary both the items and the starts.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from dipole.core.errors import DataError
from dipole.core.extras import need
from dipole.core.part import at_least, part
from dipole.evaluate.bootstrap import Floats, sums_by, weighted_intervals
from dipole.evaluate.kind import SAMPLES, result
from dipole.evaluate.labelled import Codes, LabelledTask, class_names, codes_of, read_labelled, shown
from dipole.evaluate.result import Result
from dipole.evaluate.vectors import Encode, Sides

__all__ = ["Clustering"]


@part
class Clustering:
    """Clusters found by k-means: do they agree with the labels?"""

    runs: int = at_least(1, 5, "k-means from so many starts")
    clusters: int = at_least(0, 0, "k; 0: as many as there are labels")

    files: ClassVar[str] = "FILE with text and label, or a FOLDER whose test.* is used; labels serve the measure only"
    unit: ClassVar[str] = "items"
    two_sided: ClassVar[bool] = False
    primary: ClassVar[str] = "v_measure"
    policy: ClassVar[Mapping[str, str]] = {
        "clustering": "sklearn's KMeans (k-means++, one start a run) on unit vectors",
        "seeds": "run r starts from seed + r; figures are means over runs",
        "undefined": "one class only raises an error, as does k above the number of distinct vectors",
        "few items": "v_measure, homogeneity and completeness rise where clusters are small, ari does not: compare models on equal items",
        "interval": "95% percentile bootstrap over items and runs, the clusterings held fixed, centred on the figure",
    }

    def definitions(self) -> dict[str, str]:
        mean = f"mean over {self.runs} runs"
        return {
            "v_measure": f"harmonic mean of homogeneity and completeness; {mean}",
            "nmi": f"mutual information of clusters and labels over the mean of their entropies; always equal to v_measure; {mean}",
            "acc": f"share of items whose cluster is matched to their label, one to one, for the most items (Hungarian); {mean}",
            "ari": f"adjusted Rand index: agreement on which pairs of items belong together, 0 for chance, 1 for all; {mean}",
            "homogeneity": f"1 - H(label | cluster) / H(label); {mean}",
            "completeness": f"1 - H(cluster | label) / H(cluster); {mean}",
        }

    def read(self, place: str, name: str = "") -> LabelledTask:
        return read_labelled(place, name)

    def __call__(
        self, task: LabelledTask, encode: Encode, encode_keys: Encode | None = None, *, seed: int = 0, samples: int = SAMPLES
    ) -> Result:
        """Raises DataError for one class only and for more clusters than distinct vectors."""
        cluster = need("sklearn.cluster", "evaluate", "clustering")
        names = class_names(task.name, task.test)
        truth = codes_of(task.test.labels, names)
        k = self.clusters or len(names)
        sides = Sides(encode)
        vectors = sides.queries(task.test.items, "items").numpy()
        distinct = len(np.unique(vectors, axis=0))
        if distinct < k:
            raise DataError(f"task {task.name}: k-means with {k} clusters needs as many distinct vectors", value=distinct)
        found: list[Codes] = []
        for run in range(self.runs):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a cluster may run empty on copies; it is counted as it is
                found.append(cluster.KMeans(n_clusters=k, n_init=1, random_state=seed + run).fit_predict(vectors).astype(np.int64))
        right = np.stack([_matched(truth, labels, len(names), k) for labels in found])
        chance = np.random.default_rng(seed)

        def figures(weights: Floats, shares: Floats | None = None) -> dict[str, Floats]:
            """Means over runs, which the bootstrap draws too: ``shares`` (S, R)."""
            if shares is None:
                shares = chance.multinomial(self.runs, np.full(self.runs, 1 / self.runs), size=len(weights)) / self.runs
            parts = [_agreement(truth, labels, weights, len(names), k) for labels in found]
            total = weights.sum(axis=1)
            mean = {name: sum(shares[:, r] * p[name] for r, p in enumerate(parts)) for name in parts[0]}
            acc = sum(shares[:, r] * (weights @ right[r]) / total for r in range(self.runs))
            return {
                "v_measure": mean["v"],
                "nmi": mean["v"],
                "acc": acc,
                "ari": mean["ari"],
                "homogeneity": mean["h"],
                "completeness": mean["c"],
            }

        whole = figures(np.ones((1, len(truth))), np.full((1, self.runs), 1 / self.runs))
        metrics = {name: float(v[0]) for name, v in whole.items()}
        intervals = weighted_intervals(len(truth), figures, seed, min(samples, 500), centre=metrics)
        columns: dict[str, Any] = {"item": shown(task.test.items), "label": list(task.test.labels), "cluster": found[0].tolist()}
        columns["matched"] = right.mean(axis=0)
        counts = {"items": len(truth), "classes": len(names), "clusters": k, "runs": self.runs}
        return result(self, task.name, sides, metrics, intervals, columns, counts, seed)


def _agreement(truth: Codes, labels: Codes, weights: Floats, classes: int, clusters: int) -> dict[str, Floats]:
    """(S,) v-measure ``v``, homogeneity ``h``, completeness ``c`` and adjusted Rand index ``ari`` under (S, N) weights."""
    cells, places = np.unique(truth * clusters + labels, return_inverse=True)
    total = weights.sum(axis=1)
    counts = [sums_by(weights, codes, size) for codes, size in ((places, len(cells)), (truth, classes), (labels, clusters))]
    joint, of_truth, of_labels = (_entropy(one, total) for one in counts)
    mutual = of_truth + of_labels - joint
    together, same_class, same_cluster = ((one * (one - 1) / 2).sum(axis=1) for one in counts)
    by_chance = same_class * same_cluster / np.maximum(total * (total - 1) / 2, 1.0)
    room = (same_class + same_cluster) / 2 - by_chance
    ari = np.where(room > 1e-12, (together - by_chance) / np.where(room > 1e-12, room, 1.0), 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        h = np.where(of_truth > 1e-12, mutual / of_truth, 1.0)
        c = np.where(of_labels > 1e-12, mutual / of_labels, 1.0)
        v = np.where(h + c > 1e-12, 2 * h * c / (h + c), 0.0)
    return {"v": v, "h": h, "c": c, "ari": ari}


def _entropy(counts: Floats, total: Floats) -> Floats:
    shares = counts / total[:, None]
    found: Floats = -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(axis=1)
    return found


def _matched(truth: Codes, labels: Codes, classes: int, clusters: int) -> Floats:
    """(N,) 1 where the item's cluster is matched to its label."""
    optimize = need("scipy.optimize", "evaluate", "matching clusters and labels")
    table = np.zeros((clusters, classes))
    np.add.at(table, (labels, truth), 1)
    rows, cols = optimize.linear_sum_assignment(-table)
    wanted = np.full(clusters, -1)
    wanted[rows] = cols
    found: Floats = (wanted[labels] == truth).astype(np.float64)
    return found
