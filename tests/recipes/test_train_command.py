"""``dipole train`` from the outside: a file in, a run folder out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dipole.cli.main import main
from dipole.train.log import read

ROOT = Path(__file__).parents[2]
TOY = ["--set", "encoder=toy.bag", "--set", "step.batch_size=8", "--set", "step.micro_batch_size=4", "--set", "step.learning_rate=0.01"]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps({"query": f"q{i} word{i % 7}", "answer": f"a{i} word{i % 7}"}) + "\n" for i in range(40)))
    return file


def test_train_then_refuse_then_resume(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    command = ["train", "clip-pairs", "--data", str(pairs), "--out", str(out), *TOY, "--json"]
    assert main(command) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["steps"] == 5 and summary["rows"] == 40 and summary["model"] == str(out / "model")
    assert len(read(out / "log.jsonl")) == 5
    assert main(command) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0  # nothing left to do
    assert len(read(out / "log.jsonl")) == 5
    assert main([*command, "--resume", "--set", "losses.0.two_sided=false"]) == 2
    assert "two_sided = true" in capsys.readouterr().err


def test_ctrl_c_saves_and_says_how_to_go_on(pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = [sys.executable, "-m", "dipole", "train", "clip-pairs", "--data", str(pairs), "--out", str(out), *TOY]
    words += ["--set", "step.max_steps=100000"]
    child = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while not (out / "log.jsonl").exists() or not (out / "log.jsonl").read_text().count("\n"):
        assert child.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130, said
    assert "--resume" in said and "Traceback" not in said
    saved = [p.name for p in (out / "checkpoints").iterdir()]
    assert saved == [f"step-{len(read(out / 'log.jsonl'))}"]


def test_b3_killed_while_training_then_resumed(tmp_path: Path) -> None:
    """Batches of communities from a file: a run that was killed, and went on, wrote what an unbroken one writes."""
    data = tmp_path / "grouped.jsonl"
    texts = [{"anchor": f"q{i} w{i % 7}", "positive": f"a{i} w{i % 7}", "community": i * i % 11} for i in range(60)]
    data.write_text("".join(json.dumps(text) + "\n" for text in texts))
    words = ["train", "b3", "--data", str(data), *TOY, "--set", "step.num_train_epochs=40", "--set", "step.save_steps=5"]
    assert main([*words, "--out", str(tmp_path / "whole")]) == 0
    out = tmp_path / "killed"
    slow = "import time; from dipole.train.log import Progress; Progress.advance = lambda *a: time.sleep(0.02)"
    code = f"{slow}; from dipole.cli.main import main; main({[*words, '--out', str(out)]!r})"
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 120
    while not (out / "log.jsonl").exists() or (out / "log.jsonl").read_text().count("\n") < 24:
        assert child.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert main([*words, "--out", str(out), "--resume"]) == 0
    whole, parts = ([(r["step"], r["loss"], r["grad_norm"]) for r in read(run / "log.jsonl")] for run in (tmp_path / "whole", out))
    assert len(whole) == 280 and parts == whole
    assert json.loads((out / "summary.json").read_text())["losses"] == [whole[0][1], whole[-1][1]]


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["--set", "losses.0.temprature=1"], 2, "did you mean 'temperature'"),
        (["--set", "losses.0.temperature=-1"], 2, "--set losses.0.temperature=-1: infonce: temperature must be a number above 0, got -1"),
        (["--set", "los.0.temperature=1"], 2, "did you mean 'losses'"),
        (["--set", "losses=infonse"], 2, "did you mean 'infonce'"),
        (["--variant", "supervized"], 2, "unknown variant"),
        (["--stop-on", "nan,colapse"], 2, "--stop-on: unknown alarm 'colapse'; did you mean 'collapse'?"),
        (["--set", "step.batch_size=64"], 1, "fewer rows than one batch of 64"),
    ],
)
def test_wrong_calls(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, expected: str) -> None:
    out = tmp_path / "run"
    assert main(["train", "clip-pairs", "--data", str(pairs), "--out", str(out), *TOY, *words]) == code
    said = capsys.readouterr().err
    assert expected in said and len(said.splitlines()) == 1
    assert not out.exists()


def test_a_missing_file_and_missing_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "simcse", "--data", str(tmp_path / "none.txt"), "--out", str(tmp_path / "run"), *TOY]) == 2
    assert "none.txt" in capsys.readouterr().err
    assert main(["train", "simcse", "--out", str(tmp_path / "run")]) == 2
    assert "give --data FILE" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_stop_on_an_alarm(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    words = ["train", "clip-pairs", "--data", str(pairs), "--out", str(out), *TOY, "--set", "step.max_steps=30"]
    words += ["--set", "score=cosine", "--set", "losses.0.temperature=0.0001"]
    assert main([*words, "--stop-on", "collapse, saturation"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert any(line.startswith("warning: saturation: ") for line in said)  # on the terminal, as it happens
    assert said[-1].startswith("dipole: train: stopped after step 21 of 30: saturation: ") and "--resume" in said[-1]
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step-21"]
    assert "saturation: " in read(out / "log.jsonl")[-1]["alarms"][0]
    assert main([*words, "--resume"]) == 0
    assert "warning: saturation: " in capsys.readouterr().out
