"""The report on vectors: its figures are the diagnostics', its verdicts say the right thing of planted illnesses, bad input has a name."""

from __future__ import annotations

import json
import math

import pytest
import torch

from dipole import diagnostics
from dipole.core.errors import DataError
from dipole.report.bounds import BOUNDS, Bound
from dipole.report.diagnose import Report, diagnose
from dipole.report.inputs import Options, read_items
from tests.report.conftest import Table, rows_of, spread


def status(report: Report) -> dict[str, str]:
    return {verdict.name: verdict.status for verdict in report.verdicts}


def healthy_pairs(n: int = 120, d: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    x = spread(n, d)
    return x, x + 0.4 * spread(n, d, 1)


def test_figures_are_the_diagnostics_and_json_can_hold_them() -> None:
    x, y = healthy_pairs()
    found = diagnose(Table(x, y), rows_of(120)).json()
    assert found["alignment"] == pytest.approx(diagnostics.alignment(x, y))
    assert found["uniformity"] == pytest.approx(diagnostics.uniformity(x))
    assert found["effective_rank"] == pytest.approx(diagnostics.effective_rank(x))
    assert found["isotropy"] == pytest.approx(diagnostics.isotropy(x))
    assert found["pairs"]["matched"] == pytest.approx(diagnostics.cosine_gap(x, y).matched)
    unit = torch.nn.functional.normalize
    scores = unit(x, dim=1) @ unit(y, dim=1).T
    hardest = scores.clone().fill_diagonal_(-torch.inf).max(1).values
    assert found["pairs"]["confused"] == pytest.approx(float((hardest >= scores.diagonal()).double().mean()))
    assert {"name", "status", "value", "healthy", "message", "try", "why"} == set(found["verdicts"][0])
    assert json.loads(json.dumps(found, allow_nan=False))["verdicts"] == found["verdicts"]


def test_healthy_vectors_have_no_ill_verdict() -> None:
    found = status(diagnose(Table(*healthy_pairs()), rows_of(120)))
    assert {"uniformity", "effective rank", "isotropy", "anisotropy", "hubness", "alignment", "overlap"} <= set(found)
    assert {name: state for name, state in found.items() if state != "healthy"} == {}


def test_a_collapsed_model_is_called_ill() -> None:
    x, y = healthy_pairs()
    report = diagnose(Table(x + 40, y + 40), rows_of(120))
    found = status(report)
    assert found["uniformity"] == found["anisotropy"] == found["effective rank"] == "ill"
    said = {v.name: v for v in report.verdicts}["anisotropy"]
    assert said.value == pytest.approx(diagnostics.anisotropy(x + 40)) and f"{said.value:.2f}" in said.message and said.remedy


def test_one_point_is_told_and_does_not_crash() -> None:
    report = diagnose(Table(torch.ones(60, 8)), rows_of(60))
    found = report.json()
    assert found["isotropy"] is None and found["alignment"] == 0 and found["effective_rank"] == pytest.approx(1, abs=1e-4)
    assert status(report)["alignment"] == status(report)["uniformity"] == "ill" and status(report)["isotropy"] == "unknown"
    assert any("isotropy is undefined here: isotropy: all vectors are the same" in note for note in found["notes"])


def test_pairs_that_do_not_belong_together() -> None:
    report = diagnose(Table(spread(120, 24), spread(120, 24, 5)), rows_of(120))
    assert status(report)["alignment"] == status(report)["overlap"] == "ill"
    assert status(report)["uniformity"] == "healthy"


def test_a_stranger_above_each_positive_is_no_health_however_little_the_cosines_overlap() -> None:
    """Twins: each pair is near, almost every stranger far, but every positive's twin lies nearer."""
    half = torch.eye(60).repeat_interleave(2, 0)
    side = 0.3 * torch.nn.functional.normalize(spread(120, 60, 3), dim=1)
    report = diagnose(Table(half + side, half - side), rows_of(120))
    said = {v.name: v for v in report.verdicts}["overlap"]
    assert report.values["pairs"]["overlap"] < BOUNDS["overlap"].good
    assert said.status == "ill" and said.value == report.values["pairs"]["confused"] > 0.95
    assert "for 9" in said.message or "for 100%" in said.message
    note = next(picture.note for picture in report.sections[0][2] if picture.key == "similarities")
    assert f"For {said.value:.0%} of queries some stranger scores above the positive" in note


def test_few_directions() -> None:
    x = spread(120, 2) @ spread(2, 24, 1)
    report = diagnose(Table(x, x), rows_of(120))
    assert status(report)["effective rank"] == "ill"
    assert {v.name: v.value for v in report.verdicts}["effective rank"] < 2.01


def test_sides_that_live_apart_and_positives_that_repeat() -> None:
    x, y = healthy_pairs()
    y = y + 3 * torch.eye(24)[0]
    rows = rows_of(120)
    for place in range(10):
        rows[place]["positive"] = rows[11]["positive"]
    found = diagnose(Table(x, y), rows)
    assert status(found)["gap between sides"] == "watch"
    assert status(found)["false negatives"] == "watch" and found.values["pairs"]["repeated_positives"] == pytest.approx(11 / 120)


def test_plain_texts_have_no_alignment() -> None:
    rows = [{"anchor": row["anchor"]} for row in rows_of(80)]
    report = diagnose(Table(spread(80, 12)), rows)
    assert report.json()["alignment"] is None and report.json()["pairs"] is None
    assert status(report)["alignment"] == "unknown" and status(report)["uniformity"] == "healthy"


def test_given_negatives_labels_and_scores_are_used() -> None:
    x, y = healthy_pairs()
    negatives = [[f"{i} again", f"{(i + 1) % 120} other"] if i < 60 else f"{(i + 2) % 120} other" for i in range(120)]
    rows = rows_of(120, negative=negatives, label=["odd" if i % 2 else "even" for i in range(120)], score=[i % 6 for i in range(120)])
    found = diagnose(Table(x, y), rows)
    given = found.values["negatives"]
    assert given["given"] == 180
    assert given["unsafe"] == 0.5  # the first negative of the first 60 has the positive's own vector
    assert status(found)["given negatives"] == "ill"
    assert found.values["classes"]["classes"] == 2 and found.values["classes"]["chance"] == 0.5
    labels = torch.arange(120) % 2
    assert found.values["classes"]["tolerance"] == pytest.approx(diagnostics.tolerance(x, labels))
    assert found.values["surface"]["among"] == "pairs, gold similarity held fixed"


def test_copies_count_once_where_vectors_are_spread() -> None:
    x = spread(60, 8)
    rows = [{"anchor": f"{i % 60}"} for i in range(180)]
    encoder = Table(x)
    found = diagnose(encoder, rows).json()
    assert found["vectors"]["different"] == 60 and encoder.asked == 60
    assert found["uniformity"] == pytest.approx(diagnostics.uniformity(x))


def test_zero_vectors_are_left_out_and_named_by_row() -> None:
    x, y = healthy_pairs()
    x[3], y[7] = 0, 0
    report = diagnose(Table(x, y), rows_of(120))
    assert report.values["counts"]["zero_vectors"] == 2 and status(report)["zero vectors"] == "ill"
    assert "rows with a vector of 0: 4, 8" in report.notes
    keep = torch.tensor([i for i in range(120) if i not in (3, 7)])
    assert report.json()["alignment"] == pytest.approx(diagnostics.alignment(x[keep], y[keep]))


def test_rows_without_what_is_needed_are_counted() -> None:
    rows = rows_of(100)
    rows[0]["anchor"], rows[1]["positive"], rows[2]["positive"] = " ", "", []
    report = diagnose(Table(*healthy_pairs()), rows)
    assert report.values["counts"] == {
        "rows": 100,
        "looked_at": 97,
        "zero_vectors": 0,
        "left_out": {"rows without an anchor": 1, "rows without a positive": 2},
        "cut": [0, 0, 0],
    }
    assert "1 rows without an anchor were left out" in report.notes


def test_bad_input_is_named() -> None:
    x = spread(30, 8)
    with pytest.raises(DataError, match="at least two usable rows, got 1 of 3"):
        diagnose(Table(x), [{"anchor": "1 a"}, {"anchor": ""}, {"anchor": None}])
    with pytest.raises(DataError, match="all rows hold the same item"):
        diagnose(Table(x), [{"anchor": "1 a"}] * 5)
    with pytest.raises(DataError, match="one dimension"):
        diagnose(Table(x, spread(30, 9)), rows_of(30))
    with pytest.raises(DataError, match="fewer than two are left"):
        diagnose(Table(torch.zeros(30, 8)), rows_of(30))
    x[4, 2] = math.nan
    with pytest.raises(DataError, match=r"row 5: .*NaN or infinity, as 1 of 30 do"):
        diagnose(Table(x), rows_of(30))


def test_a_sample_is_drawn_where_there_are_many_rows() -> None:
    items = read_items(rows_of(500), sample=50, seed=3)
    assert len(items.anchors) == 50 and items.of == 500 and list(items.numbers) == sorted(items.numbers)
    assert items.anchors[0].split()[0] == str(items.numbers[0] - 1)
    assert items.numbers == read_items(rows_of(500), sample=50, seed=3).numbers != read_items(rows_of(500), sample=50, seed=4).numbers
    report = diagnose(Table(spread(500, 8)), rows_of(500), options=Options(sample=50))
    assert report.facts["rows"] == "50 of 500"


def test_two_models_are_compared_whatever_their_dimensions() -> None:
    x, y = healthy_pairs()
    turn = torch.linalg.qr(spread(24, 24, 9)).Q
    same = diagnose(Table(x, y), rows_of(120), second=Table(x @ turn, y @ turn)).values["compared"]
    assert same["cka"] == pytest.approx(1, abs=1e-4) and same["mutual_neighbours"] > 0.99
    other = diagnose(Table(x, y), rows_of(120), second=Table(spread(120, 30, 7), spread(120, 30, 8))).values["compared"]
    assert abs(other["cka"]) < 0.1 and other["mutual_neighbours"] < 0.2
    assert other["false_negatives_by_second"]["rate"] > 0.3  # a second model that knows nothing takes strangers for positives
    assert same["false_negatives_by_second"]["rate"] < 0.01


def test_bounds_read_in_either_direction() -> None:
    low, high = Bound(0.3, 0.7, "why"), Bound(0.35, 0.1, "why")
    assert [low.status(v) for v in (0.3, 0.31, 0.7, 0.71)] == ["healthy", "watch", "watch", "ill"]
    assert [high.status(v) for v in (0.35, 0.34, 0.1, 0.09)] == ["healthy", "watch", "watch", "ill"]
    assert (low.text, high.text) == ("at most 0.3", "at least 0.35")
    assert all(bound.why for bound in BOUNDS.values())
