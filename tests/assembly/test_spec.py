"""Recipe files: what they may hold, what they may not, and where an error is."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dipole.assembly import toml
from dipole.assembly.build import build, check, resolved
from dipole.assembly.discover import SLOTS, discover
from dipole.assembly.spec import load
from dipole.core.errors import MissingExtraError, UnknownNameError, UsageError

GOOD = """schema = 1
[paper]
title = "T"
[parts]
rows = { use = "toy.sentences", count = 40 }
views = "aligned"
encoder = "toy.bag"
score = { use = "cosine" }
losses = [
  { use = "infonce", temperature = 0.1, weight = 2 },
  { use = "dcl" },
]
[parts.step]
batch_size = 8
max_steps = 3
[variants.hot]
losses = { use = "siglip", bias = -5.0 }
[variants.slow]
step = { learning_rate = 1e-6 }
"""


def write(folder: Path, text: str, name: str = "mine.toml") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_parts_found_by_walking() -> None:
    expected = (Path(__file__).parents[1] / "expected" / "parts.txt").read_text(encoding="utf-8").splitlines()
    assert expected == sorted(set(expected))
    assert sorted(f"{slot} {name}" for slot in SLOTS for name in discover(slot)) == expected
    for slot in SLOTS:
        for found in discover(slot).values():
            assert found.load().__name__ == found.cls


def test_built_as_written(tmp_path: Path) -> None:
    recipe = build(load(write(tmp_path, GOOD)))
    assert [type(x).__name__ for x in recipe.losses] == ["InfoNCE", "DCL"] and recipe.weights == (2.0, 1.0)
    assert recipe.losses[0].temperature == 0.1 and recipe.step.batch_size == 8 and len(recipe.rows[0]) == 40  # type: ignore[union-attr]
    assert recipe.step.learning_rate == 2e-5 and type(recipe.score).__name__ == "Cosine"


def test_variants_merge_or_replace(tmp_path: Path) -> None:
    file = write(tmp_path, GOOD)
    assert [e["use"] for e in load(file, "hot").parts["losses"]] == ["siglip"]
    assert load(file, "slow").parts["step"] == [{"use": "step", "batch_size": 8, "max_steps": 3, "learning_rate": 1e-6}]
    with pytest.raises(UnknownNameError, match="did you mean 'slow'"):
        load(file, "slwo")


def test_extends_one_level(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    child = write(tmp_path, f'schema = 1\nextends = "{tmp_path}/mine.toml"\n[parts]\nstep = {{ batch_size = 4 }}\n', "child.toml")
    assert load(child).parts["step"][0] == {"use": "step", "batch_size": 4, "max_steps": 3}
    assert load(child, "hot").parts["losses"][0]["bias"] == -5.0
    grandchild = write(tmp_path, f'schema = 1\nextends = "{child}"\n', "grandchild.toml")
    with pytest.raises(UsageError, match="only one level"):
        load(grandchild)


@pytest.mark.parametrize(
    ("old", "new", "line", "expected"),
    [
        ('"infonce", temperature', '"infonce", temprature', 10, "unknown parameter 'temprature'; did you mean 'temperature'"),
        ('use = "dcl"', 'use = "dlc"', 11, "unknown losses part 'dlc'; did you mean 'dcl'"),
        ('"toy.bag"', '"toy.bga"', 7, "unknown encoder part 'toy.bga'; did you mean 'toy.bag'"),
        ("batch_size = 8", "batch_size = 1", 14, "batch_size must be a number of at least 2, got 1"),
        ("batch_size = 8", "batch_size = 8.5", 14, "batch_size must be a whole number"),
        ("bias = -5.0", 'bias = "x"', 17, "bias must be a finite number, got 'x'"),
        ("weight = 2", 'weight = "2"', 10, "weight must be a number"),
        ("weight = 2", "weight = -2", 10, "weight must be a number of at least 0, got -2"),
        ("weight = 2", "weight = nan", 10, "weight must be a number of at least 0, got nan"),
    ],
)
def test_errors_in_parts_name_file_line_and_remedy(tmp_path: Path, old: str, new: str, line: int, expected: str) -> None:
    assert old in GOOD
    file = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(UsageError) as caught:
        check(load(file, "hot" if "bias" in old else ""))
    assert f"{file}:{line}: " in str(caught.value) and expected in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("schema = 1", "schema = 2", "must begin with schema = 1"),
        ("[paper]", "[papre]", "did you mean 'paper'"),
        ('title = "T"', 'titel = "T"', "did you mean 'title'"),
        ("views =", "vews =", "unknown slot 'vews'; did you mean 'views'"),
        ('views = "aligned"', "views = 3", "views must be a table"),
        ('views = "aligned"', "views = { role = 'x' }", "must name a part"),
        ('encoder = "toy.bag"', 'encoder = ["toy.bag", "toy.bag"]', "toy.bag goes around nothing"),
        ('encoder = "toy.bag"', "", "lacks encoder"),
        ("schema = 1", "schema = = 1", "is not valid TOML"),
    ],
)
def test_errors_in_the_file(tmp_path: Path, old: str, new: str, expected: str) -> None:
    file = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(UsageError, match=r"mine\.toml") as caught:
        check(load(file))
    assert expected in str(caught.value)


def test_settings_from_outside(tmp_path: Path) -> None:
    file = write(tmp_path, GOOD)
    spec = load(
        file, changes=["losses.1.temperature=0.5", "encoder.dimension=8", "step.schedule=cosine", "rows.count=20", "batches.last=keep"]
    )
    recipe = build(spec)
    assert recipe.losses[1].temperature == 0.5 and recipe.encoder.dimension == 8 and len(recipe.rows[0]) == 20  # type: ignore[union-attr, attr-defined]
    assert recipe.step.schedule == "cosine" and recipe.batches.last == "keep"
    for wrong in ("losses.7.temperature=1", "step", "step.a.b=1"):
        with pytest.raises(UsageError, match=r"--set "):
            load(file, changes=[wrong])


def test_resolved_text_is_the_same_recipe(tmp_path: Path) -> None:
    spec = load(write(tmp_path, GOOD))
    text = resolved(spec)
    assert resolved(load(write(tmp_path, text, "again.toml"))) == text
    assert "learning_rate = 2e-05" in text  # defaults are filled in


def test_a_missing_package_prints_its_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> None:
        raise ModuleNotFoundError("No module named 'soundfile'", name="soundfile")

    monkeypatch.setattr("dipole.assembly.discover.importlib.import_module", gone)
    with pytest.raises(MissingExtraError, match=r'pip install "dipole\[text\]"'):
        discover("encoder")["text.transformer"].load()


PLAIN = st.recursive(
    st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # a busy machine draws slowly
@given(st.dictionaries(st.text(min_size=1), PLAIN, max_size=4))
def test_toml_text_is_read_back(tables: dict[str, object]) -> None:
    assert tomllib.loads(toml.dumps(tables)) == tables


def test_parts_inside_parts(tmp_path: Path) -> None:
    text = GOOD.replace(
        'encoder = "toy.bag"', 'encoder = { use = "image.two_towers", dimension = 8, image = { use = "image.conv", width = 8 } }'
    )
    spec = load(write(tmp_path, text))
    towers = build(spec).encoder
    assert (type(towers.image).__name__, towers.image.width, type(towers.text).__name__) == ("Conv", 8, "Bag")  # type: ignore[attr-defined]
    again = load(write(tmp_path, resolved(spec), "again.toml"))
    assert again.parts["encoder"][0]["image"] == {
        "use": "image.conv", "dimension": 64, "size": 32, "channels": 3, "width": 8, "depth": 3, "normalize": True
    }  # fmt: skip
    assert resolved(again) == resolved(spec)
    file = write(tmp_path, text)
    changed = load(file, changes=["encoder.image.width=4", "encoder.text=toy.bag", "encoder.text.dimension=6"])
    assert (build(changed).encoder.image.width, build(changed).encoder.text.dimension) == (4, 6)  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="encoder holds no part 'sound'"):
        load(file, changes=["encoder.sound.width=4"])
    with pytest.raises(UnknownNameError, match=r"encoder\.image\.widht=4: .*did you mean 'width'"):
        check(load(file, changes=["encoder.image.widht=4"]))
    for wrong, said in (
        ('{ use = "image.conf" }', r"mine\.toml:7.*image: .*did you mean 'image\.conv'"),
        ('{ use = "image.conv", widht = 8 }', "did you mean 'width'"),
        ('{ use = "image.conv", width = -8 }', "width must be a number of at least 4, got -8"),
        ("3", r'image must be a part: \{ use = "\.\.\." \} or its name, got 3'),
    ):
        with pytest.raises(UsageError, match=said):
            check(load(write(tmp_path, text.replace('{ use = "image.conv", width = 8 }', wrong))))
