"""``check`` passes on sound recipes, and each of its comparisons is seen to fail on a part that is broken on purpose."""

import json
import math
import random
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist

from dipole.core.errors import UsageError
from dipole.core.part import part
from dipole.losses import InfoNCE, SigLIP
from dipole.modality.toy.encoders.bag import Bag
from dipole.modality.toy.rows.sentences import Sentences
from dipole.pairwise.scores.scaled_cosine import ScaledCosine
from dipole.train.check import TOLERANCE, check
from dipole.train.recipe import Recipe
from dipole.train.step import Step
from dipole.views.aligned import Aligned


def recipe(**changes):
    torch.manual_seed(0)
    made = Recipe(
        rows=(Sentences(count=64),),
        views=Aligned(),
        encoder=Bag(),
        losses=(InfoNCE(temperature=1.0, two_sided=True), SigLIP()),
        score=ScaledCosine(),
        step=Step(batch_size=16, micro_batch_size=4, learning_rate=1e-2),
    )
    return replace(made, **changes)


def only(name, made):
    (finding,) = check(made, rows=12, batches=1, only=[name]).findings
    return finding


def test_a_sound_recipe_passes_everything():
    report = check(recipe(), rows=12, batches=2)
    assert [f.name for f in report.findings] == [
        "cached = plain",
        "ranks = one",
        "compiled = eager",
        "streamed = dense",
        "resumed = unbroken",
    ]
    assert [f.passed for f in report.findings] == [True] * 5
    assert report.passed
    assert report.findings[-1].difference == 0
    assert all(f.difference < TOLERANCE for f in report.findings)
    assert json.loads(json.dumps(report.json()))["passed"] is True


@pytest.mark.parametrize("ranks", [2, 3])
def test_uneven_ranks(ranks):
    (finding,) = check(recipe(), rows=11, ranks=ranks, batches=1, only=["ranks = one"]).findings
    assert finding.passed and finding.difference < 1e-6


class OwnDice(Bag):
    """Dropout from a generator of its own: a second pass draws other masks. The dropped random state."""

    def forward(self, inputs):
        encoded = super().forward(inputs)
        if not self.training:
            return encoded
        keep = torch.tensor([[self.dice.random() > 0.3 for _ in range(encoded.pooled.shape[1])] for _ in range(len(encoded))])
        return replace(encoded, pooled=encoded.pooled * keep)


def test_a_random_state_that_is_not_restored_is_caught():
    encoder = Bag()
    encoder.__class__ = OwnDice
    encoder.dice = random.Random(0)
    finding = only("cached = plain", recipe(encoder=encoder))
    assert finding.passed is False and finding.difference > 1e-2
    assert "random numbers" in finding.remedy


@part
class GatherWithoutGradient(Aligned):
    """Keys of other processes as constants: the usual all_gather."""

    def pairs(self, sides, meta, score):
        if dist.is_initialized():
            sides = {name: t.detach() if name == "keys" else t for name, t in sides.items()}
        return Aligned.pairs(self, sides, meta, score)


@part
class TimesWorld:
    """A loss that makes up for an average nobody asked it to: the missing 1/W."""

    def __call__(self, pairs):
        return InfoNCE(temperature=1.0)(pairs) * (dist.get_world_size() if dist.is_initialized() else 1)


@pytest.mark.parametrize("broken", [{"views": GatherWithoutGradient()}, {"losses": (TimesWorld(),)}], ids=["detached", "scaled"])
def test_wrong_gathering_is_caught(broken):
    finding = only("ranks = one", recipe(**broken))
    assert finding.passed is False and finding.difference > 1e-2
    assert "gathered vectors" in finding.remedy


@part
class OffByBackend:
    """A loss whose gradient depends on how the engine was run."""

    def __call__(self, pairs):
        from dipole.pairwise.reduce import _chosen

        return InfoNCE(temperature=1.0 if _chosen.get()[0] in ("eager", "auto") else 1.1)(pairs)


@pytest.mark.parametrize("name", ["compiled = eager", "streamed = dense"])
def test_a_backend_that_differs_is_caught(name):
    finding = only(name, recipe(losses=(OffByBackend(),)))
    assert finding.passed is False and finding.difference > 1e-3


class Forgetful(Bag):
    """Counts its calls outside the state dict, and lets the count decide what it does."""

    def forward(self, inputs):
        self.calls += 1
        encoded = super().forward(inputs)
        return replace(encoded, pooled=encoded.pooled * (1 + 0.1 * self.calls))


def test_state_that_no_checkpoint_holds_is_caught():
    encoder = Bag()
    encoder.__class__ = Forgetful
    encoder.calls = 0
    finding = only("resumed = unbroken", recipe(encoder=encoder, step=Step(batch_size=16, learning_rate=1e-2)))
    assert finding.passed is False and finding.difference > 0
    assert "state_dict" in finding.remedy


def test_what_cannot_be_compiled_is_said_not_passed(monkeypatch):
    compiled = sys.modules["dipole.pairwise.compiled"]

    def refuse(*args, **kwargs):
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(torch, "compile", refuse)
    monkeypatch.setattr(compiled, "_kernels", {})
    monkeypatch.setattr(compiled, "_refused", set())
    monkeypatch.setattr(compiled, "_worked", set())
    finding = only("compiled = eager", recipe())
    assert finding.passed is None and math.isnan(finding.difference) and "no compiler here" in finding.note


def test_bad_calls():
    with pytest.raises(UsageError, match=r"no comparison 'cached'.*known: cached = plain"):
        check(recipe(), only=["cached"])
    with pytest.raises(UsageError, match="needs at least 8 rows"):
        check(recipe(rows=(Sentences(count=6),)), ranks=4)


def test_the_command_line(tmp_path):
    out = subprocess.run(
        [sys.executable, "-m", "dipole", "check", "clip-pairs", "--json", "--rows", "8"]
        + [x for s in ("rows=toy.sentences", "rows.count=32", "encoder=toy.bag") for x in ("--set", s)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert out.returncode == 0, out.stderr
    report = json.loads(out.stdout)
    assert report["passed"] and len(report["findings"]) == 5
