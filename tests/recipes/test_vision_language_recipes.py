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


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_image_and_its_caption_read_the_same_codes(seed: int, tmp_path: Path) -> None:
    """FDT: of the codes that either reads, far more are read by both than for an image and a caption of another digit."""
    recipe = trained("fdt", seed, tmp_path)
    encoder: Any = recipe.encoder.eval()  # type: ignore[attr-defined]
    held = list(Digits(part="test"))
    with torch.no_grad():
        image = encoder.shares(encoder.prepare([row["anchor"] for row in held], "queries")) > 0
        text = encoder.shares(encoder.prepare([row["positive"] for row in held], "keys")) > 0
    labels, moved = torch.tensor([row["label"] for row in held]), torch.arange(len(held)).roll(7)
    other = labels != labels[moved]

    def shared(a: torch.Tensor, b: torch.Tensor) -> float:
        return float(((a & b).sum(1) / (a | b).sum(1)).double().mean())

    assert float(image.sum(1).double().mean()) < 8  # of 64
    matched, unmatched = shared(image, text), shared(image[other], text[moved][other])
    assert matched > 0.25 and matched > 3 * unmatched


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_batches_of_one_site_do_not_teach_to_tell_sites_apart(seed: int, tmp_path: Path) -> None:
    """ZeroVL's debiased sampling: in mixed batches telling the site already tells most negatives, so the site is what is learned."""
    held = [{**row, "site": site} for site in range(1, 9) for row in Digits(part="test", site=site)]
    digit, site = (torch.tensor([row[name] for row in held]) for name in ("label", "site"))
    same_site, across = [], []
    for one_source in (True, False):
        changes = {"rows": [{"use": "image.digits", "site": n} for n in range(1, 9)], "batches": {"one_source": one_source}}
        supcon = {"use": "supcon", "temperature": 0.2, "weight": 0.5}
        changes["losses"] = [supcon, {"use": "keys_ask", "weight": 0.5, "loss": {"use": "supcon", "temperature": 0.2}}]
        step = {"batch_size": 32, "max_steps": 100}
        encoder: Any = trained("zerovl", seed, tmp_path / str(one_source), **changes, step=step).encoder
        images = encoder.encode([row["anchor"] for row in held], side="queries")
        captions = encoder.encode([row["positive"] for row in held], side="keys")
        nearest = (images @ images.T).fill_diagonal_(-torch.inf).argmax(1)
        elsewhere = (images @ captions.T).masked_fill(site[:, None] == site, -torch.inf).argmax(1)
        same_site.append(float((site[nearest] == site).double().mean()))
        across.append(float((digit[elsewhere] == digit).double().mean()))
    assert same_site[0] < 0.25 and same_site[1] > same_site[0] + 0.25, same_site  # 1 of 8 by chance
    assert across[0] > across[1] + 0.02, across
