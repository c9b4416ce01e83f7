"""Each illness, provoked in a small real run, brings its own words; healthy runs bring none."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dipole.assembly.small import run_small
from dipole.assembly.spec import load
from dipole.core.encoded import Encoded
from dipole.core.errors import DipoleError
from dipole.core.scores import Dot, Score
from dipole.losses import InfoNCE, SupCon
from dipole.pairwise.scores.cosine import Cosine
from dipole.pairwise.scores.scaled_cosine import ScaledCosine
from dipole.train import checkpoint as ckpt
from dipole.train.doctor.watch import Doctor
from dipole.train.log import read
from dipole.train.recipe import Recipe
from dipole.train.run import train
from dipole.train.step import Step
from dipole.views.aligned import Aligned
from dipole.views.labelled import Labelled
from tests.train.stand_in import Bag, Sentences

SETTINGS = {"batch_size": 16, "num_train_epochs": 1, "learning_rate": 1e-2, "save_steps": 0}


def recipe(encoder: Bag, score: Score | None = None, temperature: float = 0.07, rows: Any = None, **settings: Any) -> Recipe:
    """Aligned pairs and InfoNCE, without gradient caching."""
    step = Step(**{**SETTINGS, **settings})  # type: ignore[arg-type]
    loss = InfoNCE(temperature=1.0 if isinstance(score, ScaledCosine) else temperature)  # type: ignore[call-arg]
    return Recipe((rows or Sentences(48),), Aligned(), encoder, (loss,), score or Cosine(), step=step)


def alarms(of: Recipe, folder: Path, **settings: Any) -> dict[str, str]:
    """Alarm -> its text, as the log has them. Every tenth step is read, however long it takes on this machine."""
    summary = train(of, folder / "run", show=False, **{"doctor": Doctor(share=math.inf), **settings})
    said = [text for record in read(folder / "run/log.jsonl") for text in record.get("alarms", [])]
    assert tuple(said) == summary.alarms
    return dict(text.split(": ", 1) for text in said)


def altered(change: Callable[[Mapping[str, Any], int], Any]) -> Sentences:
    """The sentences of the toy world, each row changed."""
    rows = Sentences(48)
    rows.rows = [{**row, **change(row, i)} for i, row in enumerate(rows.rows)]
    return rows


class Transformer(Bag):
    """Three small layers of attention."""

    def __init__(self) -> None:
        super().__init__(dropout=0.0)
        self.deep = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, 0.1, batch_first=True), 3, enable_nested_tensor=False)
        del self.top

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Encoded:
        mask = inputs["ids"] > 0
        tokens = self.deep(self.words(inputs["ids"]), src_key_padding_mask=~mask) * mask[..., None]
        return Encoded(tokens.sum(1) / mask.sum(1, keepdim=True))


class Then(Bag):
    """A bag with one more module behind it."""

    def __init__(self, last: nn.Module, dropout: float = 0.0) -> None:
        super().__init__(dropout=dropout)
        self.last = last

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Encoded:
        return Encoded(self.last(super().forward(inputs).pooled))


class Does(nn.Module):
    def __init__(self, what: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.what = what

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.what(x)


# -- silence ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "variant"), [("simcse", ""), ("simcse", "supervised"), ("clip-pairs", ""), ("supcon", "")])
def test_silence_on_the_small_runs_of_recipes(name: str, variant: str, tmp_path: Path) -> None:
    run_small(load(name, variant), tmp_path)
    records = read(tmp_path / "run/log.jsonl")
    assert len(records) >= 30 and not [r for r in records if "alarms" in r]
    read_at, all_of = [r["step"] for r in records if "effective_rank" in r], list(range(1, len(records) + 1, 10))
    assert read_at[:5] == all_of[:5] and set(read_at) <= set(all_of)


@pytest.mark.parametrize("encoder", [Bag, Transformer])
def test_silence_on_healthy_runs(encoder: type[Bag], tmp_path: Path) -> None:
    assert alarms(recipe(encoder(), ScaledCosine(), max_steps=120, warmup=0.1), tmp_path) == {}


def test_the_run_is_the_same_without_a_doctor(tmp_path: Path) -> None:
    ends = []
    for every in (10, 1, 0):
        of = recipe(Bag(), ScaledCosine(), max_steps=12, micro_batch_size=5)
        train(of, tmp_path / str(every), show=False, doctor=Doctor(every=every))
        ends.append([r["loss"] for r in read(tmp_path / str(every) / "log.jsonl")])
    assert ends[0] == ends[1] == ends[2]
    assert "effective_rank" not in read(tmp_path / "0/log.jsonl")[0]


# -- illnesses -------------------------------------------------------------------------------------------------------------


def test_collapse_by_learning_rate(tmp_path: Path) -> None:
    said = alarms(recipe(Transformer(), learning_rate=0.1, max_steps=41), tmp_path)
    assert "all vectors point the same way: mean cosine 0.9" in said["collapse"] and "lower learning_rate" in said["collapse"]
    assert "log-n" not in said  # the loss sits there, but that is not the cause


def test_dimensional_collapse(tmp_path: Path) -> None:
    narrow = Then(nn.Sequential(nn.Linear(8, 1), nn.Linear(1, 32)))
    said = alarms(recipe(narrow, max_steps=31, learning_rate=1e-3), tmp_path)
    assert "of 16 possible directions" in said["rank"]


def test_loss_at_log_n(tmp_path: Path) -> None:
    said = alarms(recipe(Bag(), temperature=100.0, learning_rate=1e-5, max_steps=41), tmp_path)
    assert list(said) == ["log-n"]
    assert "loss 2.77" in said["log-n"] and "log N = 2.773" in said["log-n"] and "raise learning_rate" in said["log-n"]


def test_tiny_temperature(tmp_path: Path) -> None:
    said = alarms(recipe(Bag(), temperature=1e-4, max_steps=31), tmp_path)
    assert "one wrong candidate" in said["saturation"] and "raise temperature" in said["saturation"]


def test_vanished_gradients(tmp_path: Path) -> None:
    rows = altered(lambda row, i: {"positive": row["anchor"]})  # too easy
    said = alarms(recipe(Bag(dropout=0.0), temperature=0.02, rows=rows, max_steps=121, learning_rate=0.1, schedule="constant"), tmp_path)
    assert "gradients have vanished" in said["saturation"] or "get any gradient" in said["saturation"]


def test_temperature_at_its_bound_and_running_away(tmp_path: Path) -> None:
    to_bound = ScaledCosine(initial_temperature=0.07, min_temperature=0.05)  # type: ignore[call-arg]
    said = alarms(recipe(Bag(), to_bound, max_steps=61, learning_rate=0.1), tmp_path / "bound")
    assert "has come to its bound 0.05" in said["temperature"]
    said = alarms(recipe(Bag(), ScaledCosine(), max_steps=11, learning_rate=3.0, rows=strangers()), tmp_path / "away")
    assert "runs away" in said["temperature"]


def strangers() -> Sentences:
    """Positives that have nothing to do with their anchors."""
    return altered(lambda row, i: {"positive": f"{i * 31 % 48} {i * 17}"})


def test_frozen_part(tmp_path: Path) -> None:
    said = alarms(recipe(Then(Does(lambda x: x.detach() + 0 * x.sum())), ScaledCosine(), max_steps=41), tmp_path)
    assert said["frozen"].startswith("3 of 4 learned tensors get no gradient: words.weight, top.weight, top.bias")


def test_frozen_head(tmp_path: Path) -> None:
    class Headless(Bag):
        def forward(self, inputs: Mapping[str, torch.Tensor]) -> Encoded:
            mean = self.words(inputs["ids"]).mean(1)
            return Encoded(nn.functional.linear(mean, self.top.weight.detach(), self.top.bias.detach()))

    said = alarms(recipe(Headless(), max_steps=61), tmp_path)
    assert said == {"frozen": said["frozen"]} and said["frozen"].startswith("2 of 3 learned tensors get no gradient: top.weight, top.bias")


def test_parts_frozen_on_purpose_are_none(tmp_path: Path) -> None:
    encoder = Bag()
    encoder.top.requires_grad_(False)
    assert alarms(recipe(encoder, max_steps=61), tmp_path) == {}


def test_steps_too_small_for_the_number_format(tmp_path: Path) -> None:
    said = alarms(recipe(Bag(), max_steps=61, learning_rate=1e-6, precision="bf16-true", schedule="constant"), tmp_path)
    assert "have a gradient but do not move: words.weight" in said["frozen"]


def test_duplicated_rows(tmp_path: Path) -> None:
    rows = Sentences(12)
    rows.rows = rows.rows * 4
    said = alarms(recipe(Bag(), rows=rows, max_steps=21), tmp_path)
    assert "of a batch's rows are copies" in said["duplicates"] and "dipole audit" in said["duplicates"]


def test_rows_without_a_positive(tmp_path: Path) -> None:
    rows = Sentences(96)
    rows.rows = [{"anchor": row["anchor"], "label": max(0, i - 34)} for i, row in enumerate(rows.rows)]  # 35 of one class, 61 alone
    step = Step(**{**SETTINGS, "batch_size": 64, "num_train_epochs": 50, "max_steps": 41})  # type: ignore[arg-type]
    labelled = Recipe((rows,), Labelled(), Bag(), (SupCon(),), Cosine(), step=step)
    said = alarms(labelled, tmp_path)["no-positive"]
    assert "% of a batch's rows have no positive" in said and "several items of a class" in said


def test_dead_negatives(tmp_path: Path) -> None:
    rows = altered(lambda row, i: {"negative": "zz zz"})  # one easy negative for all, soon far away from everything
    said = alarms(recipe(Bag(dropout=0.0), rows=rows, max_steps=121, temperature=0.05), tmp_path)
    assert list(said) == ["dead-negatives"] and "mine harder ones" in said["dead-negatives"]


def test_negatives_that_are_positives(tmp_path: Path) -> None:
    rows = altered(lambda row, i: {"negative": [row["positive"], "other words"] if i % 4 == 0 else "other words"})
    said = alarms(recipe(Bag(), rows=rows, max_steps=21), tmp_path / "ids")
    assert "of the given negatives are positives of their own query, by content" in said["false-negatives"]
    rows = altered(lambda row, i: {"negative": " ".join(reversed(row["positive"].split()))})  # the same to a bag, not by content
    said = alarms(recipe(Bag(), rows=rows, max_steps=201, learning_rate=0.02), tmp_path / "scores")
    assert "score above their row's positive" in said["false-negatives"] and "--teacher" in said["false-negatives"]


def test_spike(tmp_path: Path) -> None:
    when = 30
    of = recipe(Bag(), Dot(), temperature=1.0, max_steps=40, rows=Sentences(800), learning_rate=1e-4)
    odd = int(of.batches.plan([800], 16, of.step.seed).batch(when)[0])
    of.rows[0].rows[odd] = {"anchor": "boom", "positive": "boom"}  # type: ignore[attr-defined]
    number = int(of.encoder.prepare(["boom"])["ids"][0, 0])
    with torch.no_grad():
        of.encoder.words.weight[number] *= 30  # type: ignore[attr-defined]
    for i, row in enumerate(of.rows[0].rows):  # type: ignore[attr-defined]
        if i != odd and number in of.encoder.prepare([*row.values()])["ids"]:
            of.rows[0].rows[i] = {"anchor": "quiet one", "positive": "quiet other"}  # type: ignore[attr-defined]
    said = alarms(of, tmp_path)
    assert f"at step {when + 1}," in said["spike"] and "robust z" in said["spike"]


# -- what is not finite ----------------------------------------------------------------------------------------------------


def fails(of: Recipe, folder: Path) -> str:
    with pytest.raises(DipoleError) as caught:
        train(of, folder / "run", show=False)
    last = read(folder / "run/log.jsonl")[-1]
    assert last["loss"] is None and last["alarms"][0].startswith("nan: ") and last["alarms"][0][5:] in str(caught.value)
    return str(caught.value)


def test_nan_weight_is_named(tmp_path: Path) -> None:
    encoder = Bag()
    with torch.no_grad():
        encoder.top.weight[2, 3] = torch.nan
    said = fails(recipe(encoder, max_steps=3), tmp_path)
    assert "step 1: loss nan" in said and "the first bad tensor is the weight encoder.top.weight (1 NaN of 128 numbers)" in said
    assert ckpt.steps_in(tmp_path / "run") == []


@pytest.mark.parametrize("micro", [0, 5])
def test_nan_activation_is_named_and_the_state_before_is_saved(micro: int, tmp_path: Path) -> None:
    limit = 6  # words: longer texts break

    class Breaks(nn.Module):
        def forward(self, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
            return torch.where((ids > 0).sum(1, keepdim=True) > limit, torch.nan, 1.0) * x

    class Bad(Bag):
        def __init__(self) -> None:
            super().__init__()
            self.middle = nn.ModuleList([nn.Identity(), Breaks()])

        def forward(self, inputs: Mapping[str, torch.Tensor]) -> Encoded:
            mean = self.words(inputs["ids"]).mean(1)
            return Encoded(self.top(self.drop(self.middle[1](mean, inputs["ids"]))))

    of = recipe(Bad(), rows=Sentences(480), max_steps=30, batch_size=16, micro_batch_size=micro)
    plan = of.batches.plan([480], 16, of.step.seed)
    late = {int(i) for step in range(7, 30) for i in plan.batch(step)}
    of.rows[0].rows = [  # type: ignore[attr-defined]
        row if i in late and i % 5 == 4 else {k: " ".join(v.split()[:4]) for k, v in row.items()}
        for i, row in enumerate(Sentences(480).rows)
    ]
    limit = 5
    first = next(s for s in range(30) if any(len(of.rows[0][int(i)]["anchor"].split()) > limit for i in plan.batch(s)))
    before = [p.clone() for p in of.encoder.parameters()]  # type: ignore[attr-defined]
    said = fails(of, tmp_path)
    assert f"step {first + 1}: " in said and "the output of encoder.middle.1 (Breaks)" in said
    assert ckpt.steps_in(tmp_path / "run") == [first] and f"step-{first}, the state before it, is saved" in said
    assert not torch.equal(before[0], next(of.encoder.parameters()))  # type: ignore[attr-defined]
    assert all(torch.isfinite(p).all() for p in of.encoder.parameters())  # type: ignore[attr-defined]


def test_nan_gradient_is_named(tmp_path: Path) -> None:
    root = Does(lambda x: (x - x.detach()).abs().sqrt() + x)  # finite, with a slope that is not
    said = fails(recipe(Then(root), max_steps=3), tmp_path)
    assert "gradient norm nan" in said and "the first bad tensor is the gradient arriving at the output of encoder.top (Linear)" in said


def test_a_loss_that_is_not_finite_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dipole.losses.softmax.infonce.InfoNCE.__call__", lambda self, pairs: pairs.positive_scores() * torch.inf)
    assert "the first bad tensor is the loss" in fails(recipe(Bag(), max_steps=3), tmp_path)


# -- stopping --------------------------------------------------------------------------------------------------------------


def test_stop_on_a_chosen_alarm_then_go_on(tmp_path: Path) -> None:
    def ill() -> Recipe:
        return recipe(Bag(), temperature=1e-4, max_steps=31)

    with pytest.raises(DipoleError, match=r"stopped after step 21 of 31: saturation: .*step-21 is saved.*--resume") as caught:
        train(ill(), tmp_path / "run", show=False, doctor=Doctor(stop_on=["collapse", "saturation"]))
    assert caught.value.exit_code == 1
    assert ckpt.steps_in(tmp_path / "run") == [21] and len(read(tmp_path / "run/log.jsonl")) == 21
    summary = train(ill(), tmp_path / "run", show=False, resume=True)
    whole = train(ill(), tmp_path / "whole", show=False)
    assert summary.losses == whole.losses and summary.alarms == whole.alarms  # told once, also when resumed
    assert json.loads((tmp_path / "run/summary.json").read_text())["alarms"] == list(summary.alarms)
