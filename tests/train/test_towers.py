"""Images through training: gradient caching, several processes and resuming are exact, for augmented views and for two towers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dipole.losses import InfoNCE
from dipole.modality.image.encoders.conv import Conv
from dipole.modality.image.encoders.two_towers import TwoTowers
from dipole.modality.image.encoders.vit import ViT
from dipole.modality.image.rows.digits import Digits
from dipole.modality.image.views.two_views import TwoViews
from dipole.modality.toy.encoders.bag import Bag
from dipole.pairwise.scores.max_sim import MaxSim
from dipole.pairwise.scores.scaled_cosine import ScaledCosine
from dipole.train.check import TOLERANCE, check
from dipole.train.log import read
from dipole.train.recipe import Recipe
from dipole.train.run import train
from dipole.train.step import Step
from dipole.views.aligned import Aligned
from tests.train.test_ranks import processes


def towers(dropout: float = 0.1, **settings: Any) -> Recipe:
    """Digits and their captions. Without dropout the image tower has no attention: the gradient of a key bias is 0 but for
    rounding, which AdamW blows up, so that no two ways of computing keep it alike.
    """
    torch.manual_seed(0)
    image: Any = Conv(dimension=16, size=8, channels=1, width=8, depth=1)
    if dropout:
        image = ViT(dimension=16, size=8, channels=1, patch=4, width=16, depth=1, heads=2, dropout=dropout)
    return Recipe(
        (Digits(count=48),),
        Aligned(),
        TwoTowers(image=image, text=Bag(dimension=8, dropout=dropout), dimension=12),
        (InfoNCE(temperature=1.0, two_sided=True),),
        ScaledCosine(),
        step=Step(**{"batch_size": 12, "micro_batch_size": 4, "learning_rate": 1e-2, **settings}),
    )


def augmented() -> Recipe:
    torch.manual_seed(0)
    encoder = Conv(dimension=8, size=8, channels=1, width=8, depth=1)
    step = Step(batch_size=12, micro_batch_size=4, learning_rate=1e-2)
    return Recipe((Digits(count=48),), TwoViews(size=8), encoder, (InfoNCE(temperature=0.5),), step=step)


@pytest.mark.parametrize("make", [towers, augmented])
def test_check_proves_images_too(make: Any) -> None:
    report = check(make(), rows=12, batches=1)
    assert len(report.findings) == 5 and [f.passed for f in report.findings] == [True] * 5, report


def test_token_scores_of_two_towers_are_exact_too() -> None:
    """Patches against words: the towers differ in the number of tokens, and texts in theirs."""
    made = towers()
    late = Recipe(made.rows, made.views, made.encoder, (InfoNCE(temperature=0.5),), MaxSim(), step=made.step)
    report = check(late, rows=12, batches=1, only=["cached = plain", "ranks = one"])
    assert all(f.passed and f.difference <= TOLERANCE for f in report.findings), report


CHILD = """
from tests.train.test_towers import towers
from dipole.train.run import train
train(towers(0.0, micro_batch_size={micro}, max_steps=6, save_steps=6), {run!r}, show=False)
"""


@pytest.mark.parametrize("micro", [0, 3])
def test_ddp_trains_both_towers_as_one_process_does(tmp_path: Path, micro: int) -> None:
    """DDP waits for every parameter, and a micro batch of texts has none of the image tower's."""
    train(towers(0.0, micro_batch_size=micro, max_steps=6, save_steps=6), tmp_path / "one", show=False)
    processes(tmp_path / "two", 2, CHILD.format(micro=micro, run=str(tmp_path / "two")))
    ours, theirs = read(tmp_path / "two/log.jsonl"), read(tmp_path / "one/log.jsonl")
    for a, b in zip(ours, theirs, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4) and a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-3)
    two, one = (load_file(tmp_path / n / "checkpoints/step-6/model.safetensors") for n in ("two", "one"))
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-4, msg=name)
    assert {name.split(".")[0] for name in one} == {"image", "text", "projections"}
