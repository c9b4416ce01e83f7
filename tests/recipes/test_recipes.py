"""Every recipe: counted, parsed, built, stepped; numbers have origins; the small run shows what the recipe promises."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import torch

from dipole.assembly.build import build, check, resolved
from dipole.assembly.small import run_small, seeds, shows, small
from dipole.assembly.spec import load, recipe_files
from dipole.assembly.tags import FACETS, TAGS, known
from dipole.cli.main import main
from dipole.train.log import read
from dipole.train.run import train

AREAS = {
    "objective", "sentence", "retrieval", "crosslingual", "vision", "vision-language",
    "video", "audio", "structured", "decoding", "preference", "analysis",
}  # fmt: skip
ALL = [(name, variant) for name in recipe_files() for variant in ("", *load(name).variants)]
EXPECTED = (Path(__file__).parents[1] / "expected" / "recipes.txt").read_text(encoding="utf-8").splitlines()
TRAINABLE = [(name, variant) for name, variant in ALL if load(name).parts]
# A variant without a [variants.NAME.small] of its own makes no promise of its own.
SHOWN = [
    (name, variant, seed)
    for name, variant in TRAINABLE
    if load(name).small.get("expect") and (not variant or load(name, variant).small["expect"] != load(name).small["expect"])
    for seed in seeds(load(name, variant))
]


def test_those_that_are_expected() -> None:
    assert EXPECTED == sorted(set(EXPECTED))
    assert sorted(f"{path.parent.name}/{name}" for name, path in recipe_files().items()) == EXPECTED
    found = list(Path(recipe_files()["simcse"]).parents[1].glob("**/*.toml"))
    assert len(found) == len(EXPECTED)  # none hides in a deeper folder


@pytest.mark.parametrize("name", recipe_files())
def test_what_is_shown_small_has_a_promise(name: str) -> None:
    """A recipe of status small either has a small run that the suite checks, or names the test that shows the effect."""
    spec = load(name)
    if spec.paper["status"] == "small":
        told = spec.paper.get("shown", "")
        assert bool(spec.small.get("expect")) != bool(told), f"{name}: give [small] expect, or paper.shown = tests/FILE.py::test"
        if told:
            file, _, test = told.partition("::")
            assert f"def {test}(" in (Path(__file__).parents[2] / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", recipe_files())
def test_the_paper_is_described(name: str) -> None:
    spec = load(name)
    paper = spec.paper
    assert paper["area"] == spec.path.parent.name and paper["area"] in AREAS
    assert paper["title"] and paper["url"].startswith("https://") and 1990 < paper["year"] < 2100
    assert paper["kind"] in ("system", "theory", "analysis", "survey", "benchmark", "dataset")
    assert paper["status"] in ("equation", "small", "full") and paper["gives"] and paper["tags"]
    known(paper["tags"], f"{spec.path}: tags")
    assert len(set(paper["tags"])) == len(paper["tags"])
    assert paper["deviations"]


def places(where: str, entry: Mapping[str, Any]) -> Iterator[str]:
    """Where the numbers of an entry stand, those of parts inside parts too."""
    for key, value in entry.items():
        if isinstance(value, Mapping):
            yield from places(f"{where}.{key}", value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield f"{where}.{key}"


@pytest.mark.parametrize(("name", "variant"), TRAINABLE)
def test_every_number_has_an_origin_and_every_origin_a_number(name: str, variant: str) -> None:
    spec = load(name, variant)
    numbers = set(
        itertools.chain.from_iterable(
            places(f"{slot}.{number}" if slot in ("losses", "regularizers") else slot, entry)
            for slot, entries in spec.parts.items()
            for number, entry in enumerate(entries)
        )
    )
    assert numbers
    for place in numbers:
        assert any(fnmatch(place, pattern) for pattern in spec.origin), f"{place} has no origin"
    for pattern in spec.origin:
        assert any(fnmatch(place, pattern) for place in numbers), f"{pattern} matches no number"


@pytest.mark.parametrize(("name", "variant"), TRAINABLE)
def test_it_is_checked_built_and_stepped(name: str, variant: str, tmp_path: Path) -> None:
    spec = load(name, variant)
    check(spec, complete=False)
    data = tmp_path / "rows.jsonl"
    one = {"anchor": "a {} b", "positive": "b {} a", "negative": "c {}", "context": "d {}", "before": "e {}", "neutral": "f {}"}
    rows = [{**{k: v.format(i) for k, v in one.items()}, "label": i % 3, "score": float(i % 4 + 1), "community": i // 4} for i in range(24)]
    data.write_text("".join(json.dumps(r) + "\n" for r in rows))
    step = {"batch_size": 8, "micro_batch_size": 4, "max_steps": 2}
    if spec.parts["rows"][0]["use"] == "file":
        ready = spec.changed({"rows": {"path": str(data)}, "encoder": "toy.bag", "step": step}, "test")
    else:  # another modality brings small parts of its own
        ready = small(spec).changed({"step": {**step, "batch_size": 16}}, "test")  # ten digits may be bound to every batch
    recipe = build(ready)
    before = [p.clone() for p in recipe.encoder.parameters()]  # type: ignore[attr-defined]
    assert train(recipe, tmp_path / "run", show=False).steps == 2
    assert [r["step"] for r in read(tmp_path / "run/log.jsonl")] == [1, 2]
    assert any(not torch.equal(a, b) for a, b in zip(before, recipe.encoder.parameters(), strict=True))  # type: ignore[attr-defined]
    again = load(tmp_path / "run/recipe.toml")  # what was written down is the recipe
    assert resolved(again) == resolved(ready) == (tmp_path / "run/recipe.toml").read_text()


@pytest.mark.parametrize(("name", "variant", "seed"), SHOWN)
def test_the_small_run_shows_what_the_recipe_promises(name: str, variant: str, seed: int, tmp_path: Path) -> None:
    spec = load(name, variant)
    measured = run_small(spec, tmp_path / "run", seed)
    assert shows(measured, spec.small["expect"]), measured
    assert not [record["alarms"] for record in read(tmp_path / "run/run/log.jsonl") if "alarms" in record]  # the doctor is silent


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
    assert [set(e) for e in listed] == [{"id", "n", "title", "area", "kind", "status", "parts", "gives", "deviations"}] * len(EXPECTED)
    assert {"simcse": 100, "supcon": 136, "clip-pairs": None}.items() <= {e["id"]: e["n"] for e in listed}.items()
    assert main(["recipes", "--json", "--area", "sentence"]) == 0
    assert "simcse" in [e["id"] for e in json.loads(capsys.readouterr().out)]
    assert main(["recipes", "--tag", "two-sided"]) == 0
    assert "clip-pairs" in capsys.readouterr().out
    assert main(["recipes", "--json", "--tag", "softmax", "--tag", "labels"]) == 0
    both = [e["id"] for e in json.loads(capsys.readouterr().out)]
    assert "supcon" in both and "simcse" not in both and "clip-pairs" not in both


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tag", "two-sided", "--tag", "sofmax"], "unknown tag 'sofmax'; did you mean 'softmax'"),
        (["--area", "sentense"], "unknown area 'sentense'; did you mean 'sentence'"),
    ],
)
def test_recipes_command_refuses_what_there_is_not(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", *words]) == 2
    out = capsys.readouterr()
    assert said in out.err and not out.out


def test_no_tag_means_two_things() -> None:
    named = [tag for facet in FACETS.values() for tag in facet]
    assert len(named) == len(set(named)) == len(TAGS)
    assert all(about and not about[0].isupper() for about in TAGS.values())


def test_show_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "simcse", "--variant", "supervised"]) == 0
    shown = capsys.readouterr().out
    for expected in ("batch_size = 512", "princeton-nlp/SimCSE", "tanh layer", "arxiv.org/abs/2104.08821"):
        assert expected in shown
    assert main(["show", "simcse", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parts"]["step"]["learning_rate"] == 3e-5


def test_a_paper_without_parts_says_what_it_gives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paper = 'title = "T"\nurl = "https://example.org"\nkind = "theory"\ngives = ["diagnostic alignment"]'
    (tmp_path / "theory.toml").write_text(f"schema = 1\n[paper]\n{paper}\n")
    assert main(["show", str(tmp_path / "theory.toml")]) == 0
    assert "diagnostic alignment" in capsys.readouterr().out
    assert main(["train", str(tmp_path / "theory.toml"), "--out", str(tmp_path / "run")]) == 2
    assert "without a training recipe" in capsys.readouterr().err


def test_unknown_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "simsce"]) == 2
    assert "did you mean 'simcse'" in capsys.readouterr().err
