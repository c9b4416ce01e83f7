"""Few-shot classification: N classes never seen before, K examples of each, and the question which class an item is of.

An episode draws N classes, K support items and Q query items of each. Vectors are frozen: nothing is trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from dipole.core.errors import DataError
from dipole.core.part import at_least, part
from dipole.evaluate.bootstrap import mean_intervals
from dipole.evaluate.kind import SAMPLES, result
from dipole.evaluate.kinds.classification import nearest_mean, vote
from dipole.evaluate.labelled import Codes, LabelledTask, class_names, codes_of, read_labelled
from dipole.evaluate.result import Result
from dipole.evaluate.vectors import Encode, Sides

__all__ = ["FewShot"]


@part
class FewShot:
    """N-way K-shot episodes: which of N new classes is an item of, given K examples of each?"""

    ways: int = at_least(2, 5, "N, the classes of an episode")
    shots: int = at_least(1, 5, "K, the examples of each")
    queries: int = at_least(1, 15, "Q, the items of each class to be told")
    episodes: int = at_least(2, 600, "how many are drawn")

    files: ClassVar[str] = "FILE with text and label, or a FOLDER whose test.* is used; classes with fewer than K + Q items are left out"
    unit: ClassVar[str] = "episodes"
    two_sided: ClassVar[bool] = False
    primary: ClassVar[str] = "accuracy"
    policy: ClassVar[Mapping[str, str]] = {
        "score": "cosine, float32",
        "prototype": "the mean of a class's K unit vectors",
        "ties": "the class that comes first in the alphabet; for the nearest example, the larger sum of cosines",
        "draw": "classes and items without replacement within an episode, with replacement between episodes",
        "interval": "95% percentile bootstrap over episodes",
    }

    def definitions(self) -> dict[str, str]:
        setting = f"{self.ways}-way {self.shots}-shot, {self.queries} queries a class, mean over {self.episodes} episodes"
        return {
            "accuracy": f"share of queries whose nearest class prototype (cosine) is their own class's; {setting}",
            "nearest_accuracy": f"share of queries whose nearest support item (cosine) is of their own class; {setting}",
        }

    def read(self, place: str, name: str = "") -> LabelledTask:
        return read_labelled(place, name)

    def __call__(
        self, task: LabelledTask, encode: Encode, encode_keys: Encode | None = None, *, seed: int = 0, samples: int = SAMPLES
    ) -> Result:
        """Raises DataError where fewer than N classes have K + Q items."""
        names = class_names(task.name, task.test)
        truth = codes_of(task.test.labels, names)
        members = [np.flatnonzero(truth == code) for code in range(len(names))]
        large = [code for code, held in enumerate(members) if len(held) >= self.shots + self.queries]
        if len(large) < self.ways:
            rule = f"task {task.name}: {self.ways} classes must have at least {self.shots} + {self.queries} items"
            raise DataError(rule, value=f"{len(large)} classes do", remedy="choose fewer ways, shots or queries")
        sides = Sides(encode)
        vectors = sides.queries(task.test.items, "items")
        chance = np.random.default_rng(seed)
        prototype, nearest, drawn_classes = [], [], []
        for _ in range(self.episodes):
            chosen = chance.choice(large, self.ways, replace=False)
            drawn = np.stack([chance.choice(members[code], self.shots + self.queries, replace=False) for code in chosen])
            support, asked = drawn[:, : self.shots].ravel(), drawn[:, self.shots :].ravel()
            of_support: Codes = np.repeat(np.arange(self.ways), self.shots)
            wanted = np.repeat(np.arange(self.ways), self.queries)
            prototype.append(float((nearest_mean(vectors[support], of_support, vectors[asked]) == wanted).mean()))
            nearest.append(float((vote(vectors[support], of_support, vectors[asked], self.ways, 1) == wanted).mean()))
            drawn_classes.append([names[code] for code in chosen])
        values = {"accuracy": np.array(prototype), "nearest_accuracy": np.array(nearest)}
        metrics = {name: float(v.mean()) for name, v in values.items()}
        counts = {"episodes": self.episodes, "items": len(truth), "classes": len(names), "classes_left_out": len(names) - len(large)}
        columns = {"classes": drawn_classes, **values}
        return result(self, task.name, sides, metrics, mean_intervals(values, seed, samples), columns, counts, seed)
