"""Effects that papers on softmax losses promise and a training recipe cannot express, on scikit-learn's digits or a small graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from dipole import diagnostics
from dipole.assembly.build import build
from dipole.assembly.small import small
from dipole.assembly.spec import load
from dipole.core.encoded import Encoded
from dipole.core.pairs import Pairs
from dipole.losses import DCL, MACL, BothViews, InfoNCE, SupCon
from dipole.modality.image.rows.digits import Digits
from dipole.pairwise.scores.distance_power import DistancePower
from dipole.train.ranks import objective_of
from dipole.train.recipe import Recipe
from dipole.train.run import train


def recipe_of(name: str, seed: int, **changes: Any) -> Recipe:
    """The small run of a recipe with some slots changed."""
    changes["step"] = {**changes.get("step", {}), "seed": seed, "save_steps": 0}
    return build(small(load(name)).changed(changes, "test"))


def trained(recipe: Recipe, folder: Path) -> Recipe:
    train(recipe, folder, show=False)
    return recipe


def pairs_of(recipe: Recipe, first: int, count: int) -> Pairs:
    """The two views of some training images, as both views ask; vectors are leaves that need a gradient."""
    torch.manual_seed(0)
    batch = recipe.views([recipe.rows[0][i] for i in range(first, first + count)])
    encoder: Any = recipe.encoder
    with torch.no_grad():
        sides = {side: encoder(encoder.prepare(items, side)).pooled for side, items in batch.items.items()}
    leaves: Mapping[str, torch.Tensor] = {side: v.requires_grad_() for side, v in sides.items()}
    return recipe.views.pairs(leaves, batch.meta, recipe.score).both_views()


def misses(pairs: Pairs, temperature: float) -> torch.Tensor:
    """1 - P_ii of every row: what multiplies InfoNCE's gradient."""
    return -torch.expm1(-InfoNCE(temperature=temperature)(pairs).detach())


@pytest.mark.parametrize("seed", [1, 2])
def test_the_multiplier_of_infonce_vanishes_where_dcl_has_none(seed: int, tmp_path: Path) -> None:
    """arXiv:2110.06848, figure 2: with training, and with a small batch, 1 - P falls, and InfoNCE's gradient with it; DCL's does not."""
    recipe = recipe_of("dcl", seed, losses=[{"use": "both_views"}])
    before = misses(pairs_of(recipe, 0, 8), 0.1).log().mean()
    trained(recipe, tmp_path)
    few, many = (misses(pairs_of(recipe, 0, n), 0.1).log().mean() for n in (8, 256))
    assert few < before - 0.5
    assert few < many - 0.5
    pairs = pairs_of(recipe, 0, 8)
    assert isinstance(pairs.queries, torch.Tensor)
    sizes = {}
    for loss in (InfoNCE(temperature=0.1), DCL(temperature=0.1)):
        grad = torch.autograd.grad(loss(pairs).sum(), pairs.queries, retain_graph=True)[0]
        sizes[type(loss)] = float(grad.norm())
    assert sizes[InfoNCE] < 0.7 * sizes[DCL]


@pytest.mark.parametrize("seed", [1, 2])
def test_macl_keeps_the_pull_that_infonce_loses(seed: int, tmp_path: Path) -> None:
    """arXiv:2207.07874: however well a positive is picked already, MACL pulls it by 1 / t; InfoNCE by 1 - P of that."""
    recipe = recipe_of("macl", seed)

    def pulls() -> tuple[float, float]:
        pairs = pairs_of(recipe, 0, 16)
        assert isinstance(pairs.queries, torch.Tensor) and isinstance(pairs.keys, torch.Tensor)
        matrix = (pairs.queries @ pairs.keys.T).detach()
        temperature = 0.1 * (1 + 0.5 * float(matrix.diagonal().mean()))
        found = []
        for term in (MACL(temperature=0.1, growth=0.5), InfoNCE(temperature=temperature)):
            scores = matrix.clone().requires_grad_()
            given = Pairs(scores, torch.eye(32), pairs.positive, excluded=pairs.excluded)
            pull = torch.autograd.grad(term(given).sum(), scores)[0].diagonal()
            found.append(float((-pull * temperature).mean()))
        return found[0], found[1]

    before = pulls()
    trained(recipe, tmp_path)
    after = pulls()
    assert before[0] == pytest.approx(1, abs=1e-4) and after[0] == pytest.approx(1, abs=1e-4)
    assert after[1] < before[1] - 0.08


def test_gaussian_infonce_clusters_a_graph_as_its_spectrum_does() -> None:
    """arXiv:2303.15103, theorem 4.1: on a graph of three blocks, few edges between them, free vectors in the plane find the blocks."""
    gen = torch.Generator().manual_seed(0)
    blocks = torch.arange(30) // 10
    near = (torch.rand(30, 30, generator=gen) < torch.where(blocks[:, None] == blocks[None], 0.6, 0.02)).triu(1)
    edges = (near | near.T).nonzero()
    z = (0.1 * torch.randn(30, 2, generator=gen)).requires_grad_()
    optimizer = torch.optim.Adam([z], lr=0.05)
    for _ in range(150):
        vectors = normalize(z, dim=1)
        pairs = Pairs.weighted(vectors, vectors, edges[:, 0], edges[:, 1], torch.ones(len(edges)), score=DistancePower(power=2.0))
        loss = SupCon(temperature=0.5)(pairs).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = normalize(z.detach(), dim=1)
    centres = torch.stack([normalize(found[blocks == b].mean(0), dim=0) for b in range(3)])
    assert bool(((found @ centres.T).argmax(1) == blocks).all())
    degrees = (near | near.T).double().sum(1)
    laplacian = torch.eye(30, dtype=torch.float64) - (near | near.T).double() / (degrees[:, None] * degrees[None]).sqrt()
    spectrum = torch.linalg.eigh(laplacian).eigenvectors[:, 1:3]
    middles = torch.stack([spectrum[blocks == b].mean(0) for b in range(3)])
    assert torch.equal(torch.cdist(spectrum, middles).argmin(1), (found @ centres.T).argmax(1))


@pytest.mark.parametrize("seed", [1, 2])
def test_a_higher_temperature_is_less_uniform_and_more_tolerant(seed: int) -> None:
    """arXiv:2012.09740, figures 4 and 5: as the temperature grows, items of a class may stay near each other, and space is used less."""
    pixels, held = (torch.stack([row["anchor"] for row in Digits(part=p)]).flatten(1) / 255 for p in ("train", "test"))
    labels = torch.tensor([row["label"] for row in Digits(part="test")])
    spread, kept = [], []
    for temperature in (0.1, 0.3, 1.0):
        torch.manual_seed(seed)
        encoder = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 16))
        optimizer = torch.optim.Adam(encoder.parameters(), lr=5e-3)
        for _ in range(150):
            images = pixels[torch.randint(len(pixels), (128,))]
            views = [normalize(encoder(images + 0.25 * torch.randn_like(images)), dim=1) for _ in range(2)]
            optimizer.zero_grad()
            BothViews(InfoNCE(temperature=temperature))(Pairs.aligned(*views)).mean().backward()
            optimizer.step()
        with torch.no_grad():
            vectors = normalize(encoder(held), dim=1).double()
        spread.append(diagnostics.uniformity(vectors))
        kept.append(diagnostics.tolerance(vectors, labels))
    assert spread[0] < spread[1] - 0.05 and spread[1] < spread[2] - 0.1
    assert kept[0] < kept[1] - 0.04 and kept[1] < kept[2] - 0.04


def test_a_locked_image_tower_stays_what_it_was(tmp_path: Path) -> None:
    """arXiv:2111.07991: the text tower moves towards it; nothing moves it, not even weight decay."""
    recipe = recipe_of("lit", 1, step={"max_steps": 5})
    encoder: Any = recipe.encoder
    before = {name: p.clone() for name, p in encoder.named_parameters()}
    trained(recipe, tmp_path)
    moved = {name for name, p in encoder.named_parameters() if not torch.equal(p, before[name])}
    assert any(name.startswith("encoder.text.") for name in moved)
    assert not [name for name in moved if name.startswith(("twin.", "encoder.image.")) or "projections.image" in name]


def test_vectors_of_the_locked_tower_may_be_kept_instead_of_made_each_time() -> None:
    """Images once encoded, in evaluation mode, give the loss and the texts' gradient of the live tower in training."""
    recipe = recipe_of("lit", 1)
    encoder: Any = recipe.encoder
    batch = recipe.views([recipe.rows[0][i] for i in range(12)])
    kept = Encoded(encoder.encode(batch.items["queries"], side="queries"))
    encoder.train()
    objective, values, gradients = objective_of(recipe, 1), [], []
    for images in (kept, encoder(encoder.prepare(batch.items["queries"], "queries"))):
        torch.manual_seed(0)  # the texts' dropout
        texts = encoder(encoder.prepare(batch.items["keys"], "keys"))
        texts.pooled.retain_grad()
        value = objective({"queries": images, "keys": texts}, batch.meta)
        value.backward()
        values.append(value.detach())
        gradients.append(texts.pooled.grad)
    torch.testing.assert_close(values[0], values[1], rtol=1e-6, atol=0)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-5, atol=1e-7)


def test_both_towers_learn_beside_a_momentum_teacher(tmp_path: Path) -> None:
    """arXiv:2107.07651: the twin only teaches; it must not stand in for a tower that has to learn."""
    recipe = recipe_of("albef", 1, step={"max_steps": 3})
    encoder: Any = recipe.encoder
    before = {name: p.clone() for name, p in encoder.encoder.named_parameters()}
    trained(recipe, tmp_path)
    moved = {name.split(".")[0] for name, p in encoder.encoder.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"image", "text", "projections"}
