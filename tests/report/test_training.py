"""The report on a run: curves as logged, alarms, the way through the plane from the log and from checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dipole import diagnostics
from dipole.cli.main import main
from dipole.core.errors import CheckpointError
from dipole.modality.load import open_encoder
from dipole.report.inputs import Items
from dipole.report.training import plane_of_checkpoints, read_run
from dipole.train.log import read


def test_curves_are_the_logs(run_folder: Path) -> None:
    records = read(run_folder / "log.jsonl")
    found = read_run(str(run_folder))
    assert found["steps"] == 60 and found["finished"]
    assert found["curves"]["loss"] == ([r["step"] for r in records], [r["loss"] for r in records])
    assert found["curves"]["effective_rank"][0] == list(range(1, 61, 10))
    last = [r["loss"] for r in records[-10:]]
    assert found["last_loss"] == pytest.approx(sum(last) / 10)
    assert found["loss_share"] == pytest.approx(sum(last) / 10 / records[-1]["log_candidates"])
    assert [point["step"] for point in found["plane"]] == [1, 21, 41]
    assert found["plane"][-1]["alignment"] < found["plane"][0]["alignment"]


def test_the_plane_of_checkpoints_is_measured_on_the_rows_given(run_folder: Path) -> None:
    rows = [json.loads(line) for line in (run_folder.parent / "pairs.jsonl").read_text().splitlines()]
    items = Items([r["anchor"] for r in rows], list(range(1, len(rows) + 1)), [r["positive"] for r in rows])
    encoder = open_encoder(str(run_folder))
    points = plane_of_checkpoints(str(run_folder), encoder, items)
    assert [point["step"] for point in points] == [20, 40, 60]
    final = open_encoder(str(run_folder))
    x, y = final.encode(items.anchors, side="queries"), final.encode(items.positives, side="keys")
    assert points[-1]["alignment"] == pytest.approx(diagnostics.alignment(x, y), abs=1e-6)
    assert points[-1]["uniformity"] == pytest.approx(diagnostics.uniformity(x), abs=1e-6)


def test_a_run_alone_and_a_run_with_rows(run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", str(run_folder), "--json", str(tmp_path / "alone.json")]) == 0
    alone = json.loads((tmp_path / "alone.json").read_text())
    assert alone["uniformity"] is None and {v["name"] for v in alone["verdicts"]} == {"loss", "alarms"}
    assert "log N" in capsys.readouterr().out
    data = str(run_folder.parent / "pairs.jsonl")
    assert main(["diagnose", str(run_folder), "--data", data, "--json", str(tmp_path / "both.json"), "--quiet"]) == 0
    both = json.loads((tmp_path / "both.json").read_text())
    assert both["uniformity"] < -1 and both["training"]["steps"] == 60
    assert {"loss", "alarms", "uniformity", "alignment"} <= {v["name"] for v in both["verdicts"]}


def test_alarms_make_a_verdict(tmp_path: Path) -> None:
    from dipole.report.verdicts import judge_training

    lines = [{"step": i, "loss": 2.0, "log_candidates": 2.0, "alarms": ["log-n: the loss sits at log N"]} for i in range(1, 15)]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    (tmp_path / "recipe.toml").write_text('schema = 1\n[parts]\nlosses = [{ use = "infonce" }]\n')
    loss, alarms = judge_training(read_run(str(tmp_path)))
    assert (loss.status, loss.value) == ("ill", 1.0) and "100% of log N" in loss.message
    assert alarms.status == "ill" and alarms.value == 14 and "at step 1: log-n" in alarms.message
    (tmp_path / "recipe.toml").write_text('schema = 1\n[parts]\nlosses = [{ use = "siglip" }]\n')
    assert [v.name for v in judge_training(read_run(str(tmp_path)))] == ["alarms"]  # log N is no guess of that loss


def test_what_cannot_be_read_has_a_name(run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log.jsonl").write_text("")
    with pytest.raises(CheckpointError, match="holds no step yet"):
        read_run(str(tmp_path))
    assert main(["diagnose", "minilm"]) == 2
    assert "give --data FILE" in capsys.readouterr().err
    assert main(["diagnose", str(run_folder), "--data", str(tmp_path / "no.jsonl")]) == 2
    assert main(["diagnose", str(run_folder), "--map", "tsne"]) == 2
    assert "unknown map 'tsne'" in capsys.readouterr().err
