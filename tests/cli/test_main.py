"""The command line itself: what commands there are, how fast it answers, what it returns."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import dipole.cli
from dipole.cli import main as cli
from dipole.core.errors import DataError, UsageError

COMMANDS = {"demo", "encode", "evaluate", "index", "recipes", "search", "show", "train"}


def put(folder: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command ``zebra`` beside the others."""
    (folder / "zebra.py").write_text(f'from __future__ import annotations\n\n\ndef run() -> None:\n    """Stripes."""\n    {body}\n')
    monkeypatch.setattr(cli, "__file__", str(folder / "main.py"))
    monkeypatch.setattr(dipole.cli, "__path__", [str(folder)])
    monkeypatch.delitem(sys.modules, "dipole.cli.zebra", raising=False)


def test_the_commands() -> None:
    assert set(cli.command_names()) >= COMMANDS


@pytest.mark.parametrize("name", cli.command_names())
def test_every_command_has_a_summary_and_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.summary(name)
    assert cli.main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Example:" in shown
    assert f"dipole {name}" in shown.partition("Example:")[2]


def test_help_keeps_its_square_brackets(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for name, said in (
        ("serve", "pip's dipole[map]"),
        ("ingest", "[default: the collection's, or minilm]"),
        ("digest", "[default: today, UTC]"),
    ):
        for _ in range(2):  # a command that was built before is built again in one process
            assert cli.main([name, "--help"]) == 0
            assert said in " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_help_lists_every_command_in_under_a_second() -> None:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "dipole", "--help"], capture_output=True, text=True, check=True)
        times.append(time.perf_counter() - start)
        if times[-1] < 1:
            break
    assert min(times) < 1, times
    assert all(name in done.stdout for name in cli.command_names())


def test_help_imports_neither_torch_nor_any_command() -> None:
    code = (
        "import sys; from dipole.cli.main import main; main(['--help']); "
        "bad = {'torch', 'sentence_transformers', 'lancedb', 'dipole.cli.index'} & set(sys.modules); sys.exit(str(bad) if bad else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        ("raise UsageError('no such thing')", 2, "dipole: no such thing\n"),
        ("raise DataError('bad row', path='f.csv', line=3)", 1, "dipole: f.csv:3: bad row\n"),
        ("raise OSError(28, 'No space left on device', 'out.bin')", 1, "dipole: No space left on device: out.bin\n"),
        ("raise KeyboardInterrupt", 130, None),
        ("return", 0, ""),
    ],
)
def test_errors_become_one_line_and_a_code(
    raised: str, code: int, said: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, f"from dipole.core.errors import DataError, UsageError\n\n    {raised}", monkeypatch)
    assert cli.main(["zebra"]) == code
    err = capsys.readouterr().err
    assert "Traceback" not in err
    if said is not None:
        assert err == said
    assert {UsageError.exit_code, DataError.exit_code} == {1, 2}


def test_an_unforeseen_error_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "raise ZeroDivisionError", monkeypatch)
    with pytest.raises(ZeroDivisionError):
        cli.main(["zebra"])


def test_wrong_calls_return_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serch"]) == 2
    assert "search" in capsys.readouterr().err  # the nearest name is offered
    assert cli.main(["search"]) == 2
    assert cli.main(["search", "--nonsense"]) == 2
    assert cli.main([]) == 2


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == dipole.__version__


def test_a_closed_pipe_is_no_error() -> None:
    script = f"{sys.executable} -m dipole --help | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env={**os.environ, "COLUMNS": "80"})
    assert "Traceback" not in done.stderr
