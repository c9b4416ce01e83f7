"""Items with labels, in one set or in train, dev and test, and the files they come in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dipole.core.errors import DataError
from dipole.evaluate.bootstrap import Floats, sums_by
from dipole.evaluate.table import Table, splits

Codes = NDArray[np.int64]
FILES = "FILE with text and label"


@dataclass(frozen=True, eq=False)
class Labelled:
    """Items (texts, images ...), each with the name of its class."""

    items: Sequence[Any]
    labels: Sequence[str]

    def __post_init__(self) -> None:
        if len(self.items) != len(self.labels) or not len(self.items):
            raise DataError("labelled items: there must be at least one item, each with a label", value=(len(self.items), len(self.labels)))

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class LabelledTask:
    """``test`` is measured; ``train`` and ``dev`` are there where the data has them."""

    name: str
    test: Labelled
    train: Labelled | None = None
    dev: Labelled | None = None


def labelled(table: Table) -> Labelled:
    """Column ``text`` (or another anchor) and ``label``."""
    return Labelled(table.texts("anchor"), table.labels())


def read_labelled(place: str, name: str = "") -> LabelledTask:
    """A file, or a folder of ``train``, ``test`` and perhaps ``dev``."""
    found = {split: labelled(table) for split, table in splits(place).items()}
    return LabelledTask(name or str(place), found["test"], found.get("train"), found.get("dev"))


def class_names(task: str, *sets: Labelled | None) -> list[str]:
    """The classes of all sets in alphabetical order. Raises DataError where there are fewer than two."""
    names = sorted({label for one in sets if one is not None for label in one.labels})
    if len(names) < 2:
        raise DataError(f"task {task}: there must be at least two classes", value=names)
    return names


def codes_of(labels: Sequence[str], names: Sequence[str]) -> Codes:
    """(N,) the place of each label among the names; -1 for one that is not there."""
    at: Mapping[str, int] = {name: place for place, name in enumerate(names)}
    return np.array([at.get(label, -1) for label in labels], dtype=np.int64)


def shown(items: Sequence[Any]) -> list[str]:
    """Items as a column: texts as they are, anything else by its place."""
    return [item if isinstance(item, str) else f"item {place}" for place, item in enumerate(items)]


def macro_f1(truth: Codes, predicted: Codes, weights: Floats, classes: int) -> Floats:
    """(S,) under (S, N) weights: the mean of 2 tp / (true + predicted) over the classes that occur, as truth or as prediction."""
    hit = truth == predicted
    total = sums_by(weights, truth, classes) + sums_by(weights, predicted, classes)
    right = sums_by(weights[:, hit], truth[hit], classes)
    occurs = total > 0
    found: Floats = (2 * right / np.where(occurs, total, 1.0)).sum(axis=1) / occurs.sum(axis=1)
    return found
