"""The bounds part what was measured on a trained and on an untrained encoder, and quote it rightly."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dipole.report.bounds import BOUNDS

FOUND = Path(__file__).parents[2] / "bench" / "results" / "diagnostics.json"


def measured(encoder: str, name: str) -> list[float]:
    figures = json.loads(FOUND.read_text(encoding="utf-8"))["figures"]["encoders"]
    return [entry["figures"][name] for entry in figures if entry["encoder"] == encoder and name in entry["figures"]]


@pytest.mark.parametrize("name", ["uniformity", "effective rank", "isotropy", "anisotropy", "hubness", "alignment", "overlap", "confused"])
def test_a_trained_encoder_is_healthy_and_an_untrained_one_is_not(name: str) -> None:
    bound = BOUNDS[name]
    assert {bound.status(value) for value in measured("all-MiniLM-L6-v2", name)} == {"healthy"}
    if name != "isotropy":  # which random weights have, too: it does not tell them apart, as its text says
        assert "healthy" not in {bound.status(value) for value in measured("random weights", name)}


@pytest.mark.parametrize("name", ["uniformity", "effective rank", "isotropy", "anisotropy", "hubness", "alignment", "overlap", "confused"])
def test_quoted_figures_are_the_measured_ones(name: str) -> None:
    values = measured("all-MiniLM-L6-v2", name) + measured("random weights", name)
    quoted = re.findall(r"(?<![\w.-])-?\d+\.\d+", re.sub(r"1\.4 is .*?;", "", BOUNDS[name].why))
    assert len(quoted) >= 2
    for text in quoted:
        assert any(f"{value:.{len(text.partition('.')[2])}f}" == text for value in values), (text, values)
