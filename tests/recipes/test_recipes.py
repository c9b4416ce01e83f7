"""Every recipe: counted, parsed, built, stepped; numbers have origins; the small run shows what the recipe promises."""

from __future__ import annotations

import json
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch

from dipole.assembly.build import build, check, resolved
from dipole.assembly.small import run_small, shows, small
from dipole.assembly.spec import load, recipe_files
from dipole.cli.main import main
from dipole.train.log import read
from dipole.train.run import train

AREAS = {
    "objective", "sentence", "retrieval", "crosslingual", "vision", "vision-language",
    "video", "audio", "structured", "decoding", "preference", "analysis",
}  # fmt: skip
ALL = [(name, variant) for name in recipe_files() for variant in ("", *load(name).variants)]
SHOWN = [("clip-pairs", ""), ("simcse", ""), ("simcse", "supervised"), ("supcon", "")]


def test_how_many_there_are() -> None:
    assert len(recipe_files()) == 3
    assert len(ALL) == 6
    assert len(list(Path(recipe_files()["simcse"]).parents[1].glob("**/*.toml"))) == 3  # none hides in a deeper folder


@pytest.mark.parametrize("name", recipe_files())
def test_the_paper_is_described(name: str) -> None:
    spec = load(name)
    paper = spec.paper
    assert paper["area"] == spec.path.parent.name and paper["area"] in AREAS
    assert paper["title"] and paper["url"].startswith("https://") and 1990 < paper["year"] < 2100
    assert paper["kind"] in ("system", "theory", "analysis", "survey", "benchmark", "dataset")
    assert paper["status"] in ("equation", "small", "full") and paper["gives"] and paper["tags"]
    assert paper["deviations"]


@pytest.mark.parametrize(("name", "variant"), ALL)
def test_every_number_has_an_origin_and_every_origin_a_number(name: str, variant: str) -> None:
    spec = load(name, variant)
    numbers = {
        f"{slot}.{number}.{key}" if slot == "losses" else f"{slot}.{key}"
        for slot, entries in spec.parts.items()
        for number, entry in enumerate(entries)
        for key, value in entry.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    assert numbers
    for place in numbers:
        assert any(fnmatch(place, pattern) for pattern in spec.origin), f"{place} has no origin"
    for pattern in spec.origin:
        assert any(fnmatch(place, pattern) for place in numbers), f"{pattern} matches no number"


@pytest.mark.parametrize(("name", "variant"), ALL)
def test_it_is_checked_built_and_stepped(name: str, variant: str, tmp_path: Path) -> None:
    spec = load(name, variant)
    check(spec, complete=False)
    data = tmp_path / "rows.jsonl"
    rows = [{"anchor": f"a {i} b", "positive": f"b {i} a", "negative": f"c {i}", "label": i % 3} for i in range(24)]
    data.write_text("".join(json.dumps(r) + "\n" for r in rows))
    step = {"batch_size": 8, "micro_batch_size": 4, "max_steps": 2}
    ready = spec.changed({"rows": {"path": str(data)}, "encoder": "toy.bag", "step": step}, "test")
    recipe = build(ready)
    before = [p.clone() for p in recipe.encoder.parameters()]  # type: ignore[attr-defined]
    assert train(recipe, tmp_path / "run", show=False).steps == 2
    assert [r["step"] for r in read(tmp_path / "run/log.jsonl")] == [1, 2]
    assert any(not torch.equal(a, b) for a, b in zip(before, recipe.encoder.parameters(), strict=True))  # type: ignore[attr-defined]
    again = load(tmp_path / "run/recipe.toml")  # what was written down is the recipe
    assert resolved(again) == resolved(ready) == (tmp_path / "run/recipe.toml").read_text()


@pytest.mark.parametrize(("name", "variant"), SHOWN)
def test_the_small_run_shows_what_the_recipe_promises(name: str, variant: str, tmp_path: Path) -> None:
    spec = load(name, variant)
    measured = run_small(spec, tmp_path / "run")
    assert shows(measured, spec.small["expect"]), measured


def test_a_promise_can_fail(tmp_path: Path) -> None:
    """The check above has teeth: training that does not move shows nothing."""
    spec = load("simcse", changes=["step.learning_rate=1e-9"])
    still = spec.small["with"] | {"step": {**spec.small["with"]["step"], "learning_rate": 1e-9, "max_steps": 2}}
    from dataclasses import replace

    spec = replace(spec, small={**spec.small, "with": still})
    assert not shows(run_small(spec, tmp_path / "run"), spec.small["expect"])
    assert small(spec).parts["encoder"][0]["use"] == "toy.bag"


def test_recipes_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [set(e) for e in listed] == [{"id", "n", "title", "area", "kind", "status", "parts", "gives", "deviations"}] * 3
    assert {e["id"]: e["n"] for e in listed} == {"simcse": 100, "supcon": 136, "clip-pairs": None}
    assert main(["recipes", "--json", "--area", "sentence"]) == 0
    assert [e["id"] for e in json.loads(capsys.readouterr().out)] == ["simcse"]
    assert main(["recipes", "--tag", "two-sided"]) == 0
    assert "clip-pairs" in capsys.readouterr().out


def test_show_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "simcse", "--variant", "supervised"]) == 0
    shown = capsys.readouterr().out
    for expected in ("batch_size = 512", "princeton-nlp/SimCSE", "tanh layer", "arxiv.org/abs/2104.08821"):
        assert expected in shown
    assert main(["show", "simcse", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parts"]["step"]["learning_rate"] == 3e-5


def test_unknown_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "simsce"]) == 2
    assert "did you mean 'simcse'" in capsys.readouterr().err
