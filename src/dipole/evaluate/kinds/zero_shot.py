"""Zero-shot classification: an item's class is the one whose description is nearest.

A class's vector is the mean of the unit vectors of its descriptions in every template, as CLIP ensembles prompts. For images,
``encode`` is the image encoder and ``encode_keys`` the text encoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from dipole.core.errors import DataError, ParameterError
from dipole.core.part import at_least, part, words
from dipole.evaluate.bootstrap import Floats, weighted_intervals
from dipole.evaluate.kind import SAMPLES, result
from dipole.evaluate.kinds.classification import class_means
from dipole.evaluate.labelled import Labelled, codes_of, labelled, macro_f1, shown
from dipole.evaluate.result import Result
from dipole.evaluate.table import find_split, read_table, splits
from dipole.evaluate.vectors import Encode, Sides
from dipole.pairwise.topk import topk_search

__all__ = ["ZeroShot"]


@dataclass(frozen=True, eq=False)
class ZeroShotTask:
    """Items with labels, and what each class is called or described as; a class may have several descriptions."""

    name: str
    test: Labelled
    descriptions: Mapping[str, Sequence[str]]


@part
class ZeroShot:
    """Classes known by their descriptions only: is the nearest description that of the item's class?"""

    template: str = words("{}", "what a description is put into; several are divided by ' | ', for example: '{} | a question about {}.'")
    k: int = at_least(1, 5, "of the accuracy among the k nearest classes")

    files: ClassVar[str] = (
        "FILE with text and label, classes described by their labels ('_' read as a space); or a FOLDER of test.* and labels.* with "
        "label and description, several rows a label allowed"
    )
    unit: ClassVar[str] = "items"
    two_sided: ClassVar[bool] = True
    primary: ClassVar[str] = "accuracy"
    policy: ClassVar[Mapping[str, str]] = {
        "score": "cosine, float32, of the item and the mean of the class's unit vectors",
        "ties": "the class that comes first in the alphabet",
        "classes": "those that are described, whether or not an item has them",
        "undefined": "one class only, or an item whose class has no description, raises an error",
        "interval": "95% percentile bootstrap over items",
    }

    def __post_init__(self) -> None:
        for template in self._templates():
            if "{}" not in template:
                raise ParameterError("zero_shot", "template", "texts that hold {} where the description goes", self.template)

    def definitions(self) -> dict[str, str]:
        return {
            "accuracy": "share of items whose nearest class description is that of their own class",
            "macro_f1": "mean over classes of the F1 of naming the nearest class",
            f"accuracy@{self.k}": f"share of items whose class is among the {self.k} nearest",
        }

    def read(self, place: str, name: str = "") -> ZeroShotTask:
        table = splits(place)["test"]
        test = labelled(table)
        path = Path(place).expanduser()
        described = find_split(path, ("labels", "classes")) if path.is_dir() else None
        if described is None:
            return ZeroShotTask(name or place, test, {label: [label.replace("_", " ")] for label in sorted(set(test.labels))})
        given = read_table(described, "label=label, anchor=description")
        descriptions: dict[str, list[str]] = {}
        for label, text in zip(given.labels(), given.texts("anchor"), strict=True):
            descriptions.setdefault(label, []).append(text)
        for row, label in enumerate(test.labels):
            if label not in descriptions:
                raise table.error(row, "label", f"{described.name} has no description of this label", label)
        return ZeroShotTask(name or place, test, descriptions)

    def __call__(
        self, task: ZeroShotTask, encode: Encode, encode_keys: Encode | None = None, *, seed: int = 0, samples: int = SAMPLES
    ) -> Result:
        """Raises DataError for one class only and for a label without a description."""
        names = sorted(task.descriptions)
        truth = codes_of(task.test.labels, names)
        if len(names) < 2:
            raise DataError(f"task {task.name}: there must be at least two described classes", value=names)
        if (truth < 0).any():
            missing = task.test.labels[int(np.argmax(truth < 0))]
            raise DataError(f"task {task.name}: every label needs a description", value=missing)
        said = [(code, t.replace("{}", d)) for code, name in enumerate(names) for d in task.descriptions[name] for t in self._templates()]
        sides = Sides(encode, encode_keys)
        vectors = sides.queries(task.test.items, "items")
        codes = np.array([code for code, _ in said])
        classes = class_means(sides.keys([text for _, text in said], "descriptions"), codes, range(len(names)))
        top = topk_search(vectors, classes, k=min(self.k, len(names)))
        predicted = top.ids[:, 0].numpy()
        near = (top.ids == torch.from_numpy(truth)[:, None]).any(dim=1).double().numpy()
        right = (predicted == truth).astype(np.float64)

        def figures(weights: Floats) -> dict[str, Floats]:
            total = weights.sum(axis=1)
            f1 = macro_f1(truth, predicted, weights, len(names))
            return {"accuracy": weights @ right / total, "macro_f1": f1, f"accuracy@{self.k}": weights @ near / total}

        metrics = {name: float(values[0]) for name, values in figures(np.ones((1, len(truth)))).items()}
        columns: dict[str, Any] = {
            "item": shown(task.test.items),
            "label": list(task.test.labels),
            "predicted": [names[code] for code in predicted],
            "cosine": top.values[:, 0].double().numpy(),
        }
        counts = {"items": len(truth), "classes": len(names), "descriptions": len(said)}
        return result(self, task.name, sides, metrics, weighted_intervals(len(truth), figures, seed, samples), columns, counts, seed)

    def _templates(self) -> list[str]:
        return [template.strip() for template in self.template.split(" | ")]
