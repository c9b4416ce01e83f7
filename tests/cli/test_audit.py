"""``dipole audit`` from the outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dipole.audit.findings import KINDS
from dipole.cli.main import main
from tests.audit.made import rows, write


def test_json_terminal_and_fix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = rows(30)
    made[9] = dict(made[2])
    held = [dict(made[12])]
    data, dev, out = write(tmp_path / "a.jsonl", made), write(tmp_path / "dev.jsonl", held), tmp_path / "found.json"
    assert main(["audit", str(data), "--split", f"dev={dev}", "--json", str(out), "--fix", str(tmp_path / "b.jsonl")]) == 0
    told = json.loads(out.read_text())
    assert set(told) == {"findings", "counts"} and set(told["counts"]) == set(KINDS)
    assert [(f["kind"], f["rows"]) for f in told["findings"]] == [("duplicate", [3, 10]), ("leak", [13])]
    assert all(set(f) == {"kind", "rows", "message"} for f in told["findings"])
    shown = capsys.readouterr().out
    assert "duplicate: 1 finding, 2 rows" in shown and "    rows 3, 10: the same content as row 3" in shown
    assert "28 of 30 rows; dropped: 1 leak, 1 duplicate; why: " in shown
    assert main(["audit", str(tmp_path / "b.jsonl"), "--against", str(dev)]) == 0
    assert "nothing found" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["none.jsonl"], 2, "no such file"),
        (["DATA", "--split", "dev.jsonl"], 2, "write NAME=FILE"),
        (["DATA", "--drop", "emty", "--fix", "b.jsonl"], 2, "did you mean 'empty'"),
        (["DATA", "--drop", "empty"], 2, "give --fix CLEAN"),
        (["DATA", "--threshold", "0.2"], 2, "threshold must be a number from 0.5 to 1"),
        (["DATA", "--json", "none/found.json"], 2, "no such folder"),
        (["DATA", "--columns", "anchor=quary"], 1, "there is no such column"),
        (["DATA", "--encoder", "./none"], 2, "no such folder"),
        (["empty.jsonl"], 1, "the file is empty"),
    ],
)
def test_wrong_calls(
    words: list[str], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.jsonl", rows(3))
    (tmp_path / "empty.jsonl").touch()
    assert main(["audit", *("a.jsonl" if word == "DATA" else word for word in words)]) == code
    err = capsys.readouterr().err
    assert said in err and len(err.splitlines()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl", "empty.jsonl"]
