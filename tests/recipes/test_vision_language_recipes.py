"""Effects of papers on images and texts that the two values of a small run cannot express."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from dipole.assembly.build import build
from dipole.assembly.small import small
from dipole.assembly.spec import load
from dipole.modality.image.rows.digits import Digits
from dipole.train.recipe import Recipe
from dipole.train.run import train


def trained(name: str, seed: int, folder: Path, **changes: Any) -> Recipe:
    """The small run of a recipe with some slots changed, done."""
    changes["step"] = {**changes.get("step", {}), "seed": seed, "save_steps": 0}
    recipe = build(small(load(name)).changed(changes, "test"))
    train(recipe, folder, show=False)
    return recipe


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_words_of_captions_classify_images_that_nobody_labelled(seed: int, tmp_path: Path) -> None:
    """CatLIP's transfer initialisation: rows of the pre-training classifier are a classifier of classes that are in the vocabulary."""
    recipe = trained("catlip", seed, tmp_path)
    encoder: Any = recipe.encoder
    head: Any = recipe.losses[0]
    held = list(Digits(part="test"))
    with torch.no_grad():
        logits = encoder.encode([row["anchor"] for row in held]) @ head.weight[:10].T + head.offset[:10]  # "zero" to "nine"
    right = logits.argmax(1) == torch.tensor([row["label"] for row in held])
    assert float(right.double().mean()) > 0.8
