"""A kind of evaluation: it reads its task from files and measures an encoder on it.

``kinds/pair_classification.py`` answers to ``pair-classification``: a name is a path, nothing is registered. Each module declares
one ``@part`` whose parameters are the options a suite file may set.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Protocol

from dipole.core.errors import UnknownNameError
from dipole.core.part import is_part
from dipole.evaluate.result import Result
from dipole.evaluate.vectors import Encode, Sides

SAMPLES = 2_000  # resamples of a bootstrap


class Kind(Protocol):
    """What every module of ``kinds`` declares. Its first docstring line says what it measures."""

    files: ClassVar[str]  # the file formats it reads, for people
    unit: ClassVar[str]  # what one row of the per-item table is: queries, pairs, texts ...
    two_sided: ClassVar[bool]  # whether queries and keys may have prompts, or encoders, of their own
    primary: ClassVar[str]  # the metric to choose models by
    policy: ClassVar[Mapping[str, str]]  # its rules in words: ties, thresholds, intervals, odd input

    def definitions(self) -> Mapping[str, str]:
        """Metric -> what it is, in words, with the options filled in."""
        ...

    def read(self, place: str, name: str = "") -> Any:
        """The task. Raises UsageError where a file is missing, DataError with its line where it cannot be used."""
        ...

    def __call__(self, task: Any, encode: Encode, encode_keys: Encode | None = None, *, seed: int = 0, samples: int = SAMPLES) -> Result:
        """Measure. Equal input and seed give equal output. Raises DataError where the metrics are undefined."""
        ...


@cache
def kinds() -> dict[str, type[Any]]:
    """The kinds there are, by name."""
    found = {}
    for info in pkgutil.iter_modules([str(Path(__file__).with_name("kinds"))]):
        module = importlib.import_module(f"dipole.evaluate.kinds.{info.name}")
        declared = [value for value in vars(module).values() if is_part(value) and value.__module__ == module.__name__]
        assert len(declared) == 1, f"{module.__name__} must declare one part, it declares {len(declared)}"
        found[info.name.replace("_", "-")] = declared[0]
    return found


def make(name: str, options: Mapping[str, Any] | None = None, where: str = "") -> Any:
    """The kind of that name with its options. Raises UnknownNameError with the nearest, ParameterError for a bad option."""
    known = kinds()
    if name not in known:
        raise UnknownNameError("kind of task", name, known, where)
    return known[name](**(options or {}))


def name_of(kind: Any) -> str:
    """``PairClassification()`` -> ``pair-classification``."""
    return type(kind).__module__.rpartition(".")[2].replace("_", "-")


def result(
    kind: Kind,
    task: str,
    sides: Sides,
    metrics: Mapping[str, float],
    intervals: Mapping[str, tuple[float, float]],
    per_item: Mapping[str, Any],
    counts: Mapping[str, int],
    seed: int,
    notes: tuple[str, ...] = (),
) -> Result:
    """A kind's findings with what the kind and the sides say about them."""
    meant = kind.definitions()
    ordered = {name: float(metrics[name]) for name in meant if name in metrics}
    assert ordered.keys() == metrics.keys() == intervals.keys(), "every metric needs a definition and an interval"
    return Result(
        task=task,
        kind=name_of(kind),
        primary=kind.primary,
        metrics=ordered,
        intervals={name: intervals[name] for name in ordered},
        definition={name: meant[name] for name in ordered},
        per_item=per_item,
        unit=kind.unit,
        counts={**counts, **sides.counts},
        policy=kind.policy,
        seed=seed,
        notes=(*notes, *sides.notes),
    )
