"""What every kind of evaluation keeps: definitions, intervals, rows, seeds, and what it does with odd vectors and files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("ir_measures")
pytest.importorskip("sklearn")

from dipole.core.errors import DataError, DipoleError, ParameterError, UnknownNameError, UsageError
from dipole.core.part import schema
from dipole.evaluate.kind import kinds, make
from dipole.evaluate.result import Result
from tests.evaluate.cases import CASES, bag

KINDS = sorted(kinds())
RESERVED = {
    "kind",
    "primary_metric",
    "interval",
    "definition",
    "unit",
    "counts",
    "policy",
    "seed",
    "notes",
    "model",
    "seconds",
    "truncated",
}


def measured(name: str, folder: Path, encode: Any = bag, encode_keys: Any = None, **settings: Any) -> Result:
    kind = make(name, CASES[name].options)
    task = kind.read(str(CASES[name].write(folder)), "the task")
    found: Result = kind(task, encode, encode_keys, **{"samples": 60, **settings})
    return found


def test_every_kind_has_a_case() -> None:
    assert set(CASES) == set(kinds())
    assert len(KINDS) == 16


@pytest.mark.parametrize("name", KINDS)
def test_figures_mean_something(name: str, tmp_path: Path) -> None:
    found = measured(name, tmp_path)
    written = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert found.task == "the task"
    assert written["kind"] == name
    assert written["primary_metric"] in found.metrics
    assert found.metrics.keys() == found.definition.keys() == found.intervals.keys()
    assert not RESERVED & set(found.metrics)
    for metric, figure in found.metrics.items():
        low, high = found.intervals[metric]
        assert math.isfinite(figure) and low <= high, metric
        assert len(found.definition[metric].split()) > 2
    assert {"interval"} <= set(found.policy) and all(found.policy.values())
    size = found.counts[found.unit]
    assert size > 0
    assert {len(column) for column in found.per_item.values()} == {size}
    if name != "out-of-domain":
        assert found.counts["zero_vectors"] == 0


@pytest.mark.parametrize("name", KINDS)
def test_rows_are_written_and_read_back(name: str, tmp_path: Path) -> None:
    import pyarrow.parquet as parquet

    found = measured(name, tmp_path)
    held = parquet.read_table(found.write_per_item(tmp_path / "rows"))
    assert held.num_rows == found.counts[found.unit]
    assert held.column_names == list(found.per_item)


@pytest.mark.parametrize("name", KINDS)
def test_a_seed_repeats_and_lengths_of_vectors_do_not_matter(name: str, tmp_path: Path) -> None:
    folders = [tmp_path / letter for letter in "abc"]
    for folder in folders:
        folder.mkdir()
    first = measured(name, folders[0])
    again = measured(name, folders[1], lambda items: np.asarray(bag(items).double()) * 4.0)  # an array of another type is fine too
    other = measured(name, folders[2], seed=1)
    assert first.metrics == pytest.approx(again.metrics, abs=1e-6)
    for metric, bounds in first.intervals.items():
        assert bounds == pytest.approx(again.intervals[metric], abs=1e-6)
    assert other.intervals != first.intervals or all(low == high for low, high in first.intervals.values())
    if not CASES[name].draws:
        assert other.metrics == pytest.approx(first.metrics, abs=1e-9)


@pytest.mark.parametrize("name", KINDS)
def test_broken_vectors_are_refused_by_name(name: str, tmp_path: Path) -> None:
    def broken(items: Any) -> torch.Tensor:
        vectors = bag(items)
        vectors[-1, 0] = torch.nan
        return vectors

    with pytest.raises(DataError, match=r"vectors of the .* hold NaN or infinity, the first is that of item"):
        measured(name, tmp_path, broken)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("encode", "says"),
    [
        (lambda items: torch.zeros(len(items), 3), "every vector of the .* is zero"),
        (lambda items: torch.ones(len(items) + 1, 3), "one vector per item"),
        (lambda items: torch.ones(len(items)), "one vector per item"),
        (lambda items: {"not": "vectors"}, "a tensor or an array"),
        (lambda items: [[1.0] * (1 + i % 2) for i, _ in enumerate(items)] + [[1.0, 2.0], [1.0]], "a tensor or an array"),
    ],
)
def test_wrong_shapes_and_zeros_are_refused(name: str, encode: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says):
        measured(name, tmp_path, encode)


@pytest.mark.parametrize("name", KINDS)
def test_vectors_of_different_lengths_are_refused(name: str, tmp_path: Path) -> None:
    widths = iter(range(3, 100))

    def changing(items: Any) -> torch.Tensor:
        return torch.nn.functional.pad(bag(items), (0, next(widths)))

    if make(name).two_sided:
        with pytest.raises(DataError, match="must have one length"):
            measured(name, tmp_path, changing)
    else:
        measured(name, tmp_path, lambda items: bag(items)[:, :5])


@pytest.mark.parametrize("name", KINDS)
def test_a_zero_vector_is_counted_and_makes_no_figure_undefined(name: str, tmp_path: Path) -> None:
    zeroed: list[str] = []

    def one_is_zero(items: Any) -> torch.Tensor:
        vectors = bag(items)
        if not zeroed:
            zeroed.append(items[1])
            vectors[1] = 0
        return vectors

    found = measured(name, tmp_path, one_is_zero)
    assert found.counts["zero_vectors"] == 1
    assert all(math.isfinite(v) for v in found.metrics.values())


@pytest.mark.parametrize("name", KINDS)
def test_equal_vectors_say_so_or_are_refused(name: str, tmp_path: Path) -> None:
    def constant(items: Any) -> torch.Tensor:
        return torch.ones(len(items), 3)

    if CASES[name].constant:
        with pytest.raises(DataError, match=CASES[name].constant):
            measured(name, tmp_path, constant)
        return
    found = measured(name, tmp_path, constant)
    assert any("are equal" in note for note in found.notes)
    assert all(math.isfinite(v) for v in found.metrics.values())


@pytest.mark.parametrize("name", KINDS)
def test_what_cannot_be_measured_is_refused(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    assert case.refused is not None
    kind = make(name, case.options)
    with pytest.raises(DipoleError, match=case.says):
        kind(kind.read(str(case.refused(tmp_path)), name), bag)


@pytest.mark.parametrize("name", KINDS)
def test_missing_and_empty_files_are_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        make(name).read(str(tmp_path / "nowhere.jsonl"))
    empty = tmp_path / ("empty.txt" if name in ("analogies", "word-similarity") else "empty.jsonl")
    empty.touch()
    if name == "out-of-domain":  # wants a folder
        with pytest.raises(UsageError, match="no such folder"):
            make(name).read(str(empty))
    else:
        with pytest.raises(DataError, match=r"empty\."):
            make(name).read(str(empty))


@pytest.mark.parametrize("name", KINDS)
def test_options_are_checked_and_told(name: str) -> None:
    for parameter in schema(kinds()[name]):
        assert parameter.about, f"{name}.{parameter.name} must say what it is"
    with pytest.raises(UnknownNameError, match="parameter 'nonsense'"):
        make(name, {"nonsense": 1})
    for parameter in schema(kinds()[name]):
        if parameter.rule.startswith("a number of at least"):
            with pytest.raises(ParameterError, match=parameter.name):
                make(name, {parameter.name: -1})


def test_an_unknown_kind_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'classification'"):
        make("clasification")
