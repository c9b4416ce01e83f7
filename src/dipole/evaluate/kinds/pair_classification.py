"""Pair classification: does the cosine tell pairs that belong together from pairs that do not?

Where a dev split exists, thresholds are chosen there and applied to the test split; otherwise they are chosen on the test split
itself, which flatters, and the result says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dipole.core.errors import DataError
from dipole.core.part import part
from dipole.evaluate.binary import Scored
from dipole.evaluate.bootstrap import Floats, weighted_intervals
from dipole.evaluate.kind import SAMPLES, result
from dipole.evaluate.result import Result
from dipole.evaluate.table import Table, splits
from dipole.evaluate.vectors import Encode, Sides, cosines_of_pairs

__all__ = ["JudgedPairs", "PairClassification"]


@dataclass(frozen=True, eq=False)
class JudgedPairs:
    """JudgedPairs of items, each with whether they belong together."""

    first: Sequence[Any]
    second: Sequence[Any]
    positive: Sequence[bool]


@dataclass(frozen=True, eq=False)
class PairTask:
    """``dev`` is where thresholds are chosen; None: on ``test``."""

    name: str
    test: JudgedPairs
    dev: JudgedPairs | None = None


@part
class PairClassification:
    """JudgedPairs of two classes: does the cosine tell those that belong together from those that do not?"""

    files: ClassVar[str] = "FILE with sentence1, sentence2, label (1 belongs together, 0 does not); or a FOLDER of test.* and dev.* like it"
    unit: ClassVar[str] = "pairs"
    two_sided: ClassVar[bool] = False
    primary: ClassVar[str] = "ap"
    policy: ClassVar[Mapping[str, str]] = {
        "score": "cosine, float32",
        "ties": "pairs of equal cosine are accepted or refused together",
        "threshold": "chosen on dev where there is one, else on the test pairs themselves, which flatters; midway between two cosines",
        "undefined": "pairs of one class only raise an error",
        "interval": "95% percentile bootstrap over pairs, dev pairs too; a threshold is chosen again in every resample",
    }

    def definitions(self) -> dict[str, str]:
        return {
            "ap": "average precision: sum over thresholds of the gain in recall times the precision there",
            "auroc": "chance that a pair that belongs together has a larger cosine than one that does not, equal cosines counting half",
            "f1": "F1 of 'belongs together' at the threshold with the best F1",
            "f1_threshold": "the cosine from which a pair is accepted for the best F1",
            "precision": "share of accepted pairs that belong together, at the threshold of F1",
            "recall": "share of pairs that belong together that are accepted, at the threshold of F1",
            "accuracy": "share of right decisions at the threshold with the best accuracy",
            "accuracy_threshold": "the cosine from which a pair is accepted for the best accuracy",
        }

    def read(self, place: str, name: str = "") -> PairTask:
        found = splits(place)
        return PairTask(name or str(place), _pairs(found["test"]), _pairs(found["dev"]) if "dev" in found else None)

    def __call__(
        self, task: PairTask, encode: Encode, encode_keys: Encode | None = None, *, seed: int = 0, samples: int = SAMPLES
    ) -> Result:
        """Raises DataError where a split holds one class only."""
        sides = Sides(encode, encode_keys)
        chosen_on = task.dev or task.test
        groups = [task.test] if task.dev is None else [task.test, task.dev]
        first, second = sides.both([x for p in groups for x in p.first], [x for p in groups for x in p.second], "sentences")
        every = range(len(first))
        cosine = cosines_of_pairs(first, second, every, every).double().numpy()
        size = len(task.test.positive)
        test = Scored(cosine[:size], task.test.positive)
        chosen = test if task.dev is None else Scored(cosine[size:], task.dev.positive)
        for what, pairs in (("test", task.test), ("dev", chosen_on)):
            if len(set(map(bool, pairs.positive))) < 2:
                rule = f"task {task.name}: the {what} pairs must hold both classes, some that belong together and some that do not"
                raise DataError(rule, value=f"{sum(pairs.positive)} of {len(pairs.positive)} belong together")

        def figures(weights: Floats | None) -> dict[str, Floats]:
            return _figures(test, chosen, cosine[:size], np.asarray(task.test.positive, dtype=bool), weights, task.dev is not None)

        metrics = {name: float(values[0]) for name, values in figures(None).items()}
        intervals = weighted_intervals([len(p.positive) for p in groups], figures, seed, samples)
        columns = {
            "sentence1": list(map(str, task.test.first)),
            "sentence2": list(map(str, task.test.second)),
            "label": list(map(int, task.test.positive)),
            "cosine": cosine[:size],
            "accepted": (cosine[:size] >= metrics["f1_threshold"]).tolist(),
        }
        counts = {"pairs": size, "positive": int(sum(task.test.positive)), "dev_pairs": 0 if task.dev is None else len(task.dev.positive)}
        notes = () if task.dev else ("thresholds were chosen on the test pairs themselves, as there is no dev split: they flatter",)
        return result(self, task.name, sides, metrics, intervals, columns, counts, seed, notes)


def _figures(
    test: Scored, chosen: Scored, cosine: Floats, positive: np.ndarray[Any, Any], weights: Floats | None, has_dev: bool
) -> dict[str, Floats]:
    size = len(cosine)
    drawn = np.ones((1, size)) if weights is None else weights[:, :size]
    curve = test.curve(None if weights is None else drawn)
    on = curve if not has_dev else chosen.curve(None if weights is None else weights[:, size:])
    _, f1_cut = on.best(on.f1())
    _, accuracy_cut = on.best(on.accuracy())
    tp, fp = _accepted(cosine, positive, drawn, f1_cut)
    right_tp, right_fp = _accepted(cosine, positive, drawn, accuracy_cut)
    all_positive, all_negative = curve.positives[:, 0], curve.negatives[:, 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "ap": curve.average_precision(),
            "auroc": curve.auroc(),
            "f1": 2 * tp / (tp + fp + all_positive),
            "f1_threshold": f1_cut,
            "precision": tp / (tp + fp),
            "recall": tp / all_positive,
            "accuracy": (right_tp + all_negative - right_fp) / (all_positive + all_negative),
            "accuracy_threshold": accuracy_cut,
        }


def _accepted(cosine: Floats, positive: np.ndarray[Any, Any], drawn: Floats, cuts: Floats) -> tuple[Floats, Floats]:
    """(S,) positives and negatives with a cosine of at least the resample's cut."""
    inside = drawn * (cosine[None, :] >= cuts[:, None])
    return inside @ positive.astype(np.float64), inside @ (~positive).astype(np.float64)


def _pairs(table: Table) -> JudgedPairs:
    role = "label" if table.has("label") else "score"
    table.need("positive", "sentence2")
    table.need(role, "label")
    numbers = table.numbers(role)
    for place, number in enumerate(numbers):
        if number not in (0, 1):
            raise table.error(place, role, "a label must be 1 (belong together) or 0", table.rows[place].get(role))
    return JudgedPairs(table.texts("anchor"), table.texts("positive"), [number == 1 for number in numbers])
