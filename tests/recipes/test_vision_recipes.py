"""What vision papers promise and a training recipe cannot express, or their objective by hand; on small images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch.nn.functional import normalize

from dipole.assembly.build import build
from dipole.assembly.small import small
from dipole.assembly.spec import load
from dipole.core.scores import Dot
from dipole.losses import AlignUniform, InfoNCE
from dipole.modality.image.rows.digits import Digits
from dipole.modality.points.rows.shapes import Shapes
from dipole.modality.toy.rows.objects import Objects
from dipole.regularizers import Chamfer, MaskedAgreement
from dipole.regularizers.matched import matching
from dipole.regularizers.star_convex import warped
from dipole.train.ranks import objective_of
from dipole.train.recipe import Recipe
from dipole.train.run import train
from dipole.views.changes import Changes


def recipe_of(name: str, seed: int, **changes: Any) -> Recipe:
    """The small run of a recipe with some slots changed."""
    changes["step"] = {**changes.get("step", {}), "seed": seed, "save_steps": 0}
    return build(small(load(name)).changed(changes, "test"))


@pytest.mark.parametrize("keep", [5, 10_000])
def test_moco_with_two_sides_and_a_filter_by_hand(keep: int) -> None:
    """The catalogue's reading: each side against its positive and the entries of the queue that are most like it, summed."""
    negatives = [{"use": "queue", "size": 48, "of": "keys"}, "outside_batch", {"use": "hardest", "keep": keep}]
    recipe = recipe_of("moco-dualview-hnf", 1, negatives=negatives)
    objective, encoder = objective_of(recipe, 1), recipe.encoder
    queue = torch.zeros(0, 32)
    for step in range(3):
        batch = recipe.views([recipe.rows[0][i] for i in range(20 * step, 20 * step + 20)])
        sides = {side: encoder(encoder.prepare(items, side)) for side, items in batch.items.items()}
        value = objective(sides, batch.meta)
        q, k = (sides[side].pooled.detach() for side in ("queries", "keys"))
        want = 0.0
        for ask, answer in ((q, k), (k, q)) if len(queue) else ():
            for i in range(20):
                hardest = (queue @ ask[i]).sort(descending=True).values[:keep]
                scores = torch.cat([(ask[i] @ answer[i])[None], hardest]) / 0.07
                want += float(scores.logsumexp(0) - scores[0]) / 20
        if len(queue):
            assert float(value.detach()) == pytest.approx(want, rel=1e-5)
        assert not sides["keys"].pooled.requires_grad
        objective.after_step()
        queue = torch.cat([queue, k])[-48:]


def test_gml_with_its_classifier_recognises_the_tail_better_than_cross_entropy(tmp_path: Path) -> None:
    """arXiv:2305.01160: contrast and classifier with the classes' shares, against a classifier that takes all classes to be alike."""
    spec, seen = load("gml-longtail"), list(Digits(part="test"))
    labels = torch.tensor([row["label"] for row in seen])
    shares = [sum(row["label"] == digit for row in Digits(long_tail=50)) for digit in range(10)]
    conv = {"use": "image.conv", "size": 8, "channels": 1, "width": 8, "depth": 2, "dimension": 32}
    right = []
    for weight, prior in ((1.0, {"prior": shares}), (0.0, {})):
        changes = {
            "rows": {"use": "image.digits", "long_tail": 50},
            "views": {"use": "image.two_views", "size": 8, "crop": 0.6, "mirror": False, "color": 0.2},
            "encoder": [conv, {"use": "classified", "classes": 10}, {"use": "momentum", "decay": 0.9}],
            "negatives": [{"use": "queue", "size": 512}],
            "losses": [{"use": "gml", "weight": weight, "temperature": 0.2, **prior}],
            "regularizers": [{"use": "cross_entropy", "weight": 2.0, **prior}],
            "step": {"seed": 2, "batch_size": 64, "max_steps": 80, "learning_rate": 5e-3, "save_steps": 0},
        }
        recipe = build(spec.changed(changes, "test"))
        train(recipe, tmp_path / str(weight), show=False)
        classifier: Any = recipe.encoder
        with torch.no_grad():
            found = classifier(classifier.prepare([row["anchor"] for row in seen])).logits.argmax(1)
        right.append(float((found == labels)[labels >= 6].double().mean()))
    assert right[0] > right[1] + 0.08


def matched(found: torch.Tensor, labels: torch.Tensor, wanted: torch.Tensor) -> float:
    """Share of the wanted items whose cluster, under the best naming of all clusters, bears their label."""
    table = torch.zeros(10, 10, dtype=torch.int64)
    table.index_put_((found, labels), torch.ones_like(found), accumulate=True)
    names = torch.tensor(linear_sum_assignment(table.numpy(), maximize=True)[1])
    return float((names[found] == labels)[wanted].double().mean())


def test_voted_pairs_find_classes_nobody_named(tmp_path: Path) -> None:
    """arXiv:2309.11132: digits 5 to 9 are never labelled; agreement of voted pairs and pseudo-labels tells them apart."""
    seen = list(Digits(part="test"))
    labels = torch.tensor([row["label"] for row in seen])
    gains = []
    for seed in (1, 2, 3):
        right = []
        for given in ({}, {"regularizers": [{"use": "cross_entropy", "margin": 0.2}, "mean_entropy"]}):
            recipe = recipe_of("cpl-owdfa", seed, **given)
            train(recipe, tmp_path / f"{seed}-{len(given)}", show=False)
            encoder: Any = recipe.encoder
            with torch.no_grad():
                found = encoder(encoder.prepare([row["anchor"] for row in seen])).logits.argmax(1)
            right.append(matched(found, labels, labels >= 5))
        gains.append(right[0] - right[1])
    assert min(gains) > 0 and sum(gains) / 3 > 0.1, gains


def found_from(recipe: Recipe, start: float) -> float:
    """Share of test images whose shift is found to less than a pixel by descent on the maps, from ``start`` away in any direction."""
    torch.manual_seed(0)
    batch, encoder = recipe.views(list(Digits(part="test", count=60))), recipe.encoder
    with torch.no_grad():
        template, image = (encoder(encoder.prepare(batch.items[side], side)).meta["map"][:, None] for side in ("queries", "keys"))
    truth, angle = batch.meta["keys.warp"], 2 * torch.pi * torch.rand(60)
    warp = (truth + start * torch.stack([angle.cos(), angle.sin()], 1)).requires_grad_()
    optimizer = torch.optim.Adam([warp], lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        (template - warped(image, warp)).square().mean((1, 2, 3)).sum().backward()
        optimizer.step()
    pixels = (warp.detach() - truth).norm(dim=1) * (image.shape[-1] - 1) / 2
    return float((pixels < 1).double().mean())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_star_convexity_widens_the_basin_from_which_a_warp_is_found(seed: int, tmp_path: Path) -> None:
    """arXiv:2303.11526: both trainings make the maps agree at the true shift; only the hinges shape what lies around it."""
    found = []
    for penalty in (5.0, 0.0):
        term = {"use": "star_convex", "noise": 0.5, "draws": 2, "relative": False, "penalty": penalty}
        recipe = recipe_of("prise", seed, regularizers=[term])
        train(recipe, tmp_path / str(penalty), show=False)
        found.append(found_from(recipe, 0.4))
    assert found[0] > 0.8 and found[0] > found[1] + 0.12, found


def told_of(recipe: Recipe) -> tuple[float, float, float]:
    """Of parts of test clouds hidden in both views: how often the two views' tokens of one part are nearest within their cloud, how far
    apart they are over how far tokens of other parts and clouds are; and the Chamfer distance."""
    encoder: Any = recipe.encoder
    items = [row["anchor"] for row in Shapes(count=100, points=64, seed=1)]
    encoder.train()
    torch.manual_seed(0)
    with torch.no_grad():
        views = {side: encoder(encoder.prepare(items, side)) for side in ("queries", "keys")}
    both = views["queries"].meta["masked"] & views["keys"].meta["masked"]
    one, other = (normalize(views[side].tokens[both], dim=1) for side in ("queries", "keys"))
    scores, cloud = one @ other.T, both.nonzero()[:, 0]
    nearest = scores.masked_fill(cloud[:, None] != cloud, -torch.inf).argmax(1) == torch.arange(len(cloud))
    unrelated = (1 - scores)[~torch.eye(len(cloud), dtype=torch.bool)].mean()
    apart = float(MaskedAgreement().over_encoded(views) / unrelated)
    return float(nearest.double().mean()), apart, float(Chamfer().over_encoded(views))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_agreement_tells_hidden_parts_of_a_cloud_apart_and_reconstruction_does_not_suffer(seed: int, tmp_path: Path) -> None:
    """arXiv:2407.05862: reconstruction alone leaves the two decoders' tokens of one part as far apart as any two. Chance is near 0.15."""
    terms = [{"use": "chamfer", "weight": 1.0}, {"use": "masked_agreement"}]
    found = []
    for given in (terms, terms[:1]):
        recipe = recipe_of("point-cmae", seed, regularizers=given)
        train(recipe, tmp_path / str(len(given)), show=False)
        found.append(told_of(recipe))
    (nearest, apart, distance), (nearest_without, apart_without, distance_without) = found
    assert nearest > nearest_without + 0.2 and nearest > 0.35, found
    assert apart < 0.8 < 0.95 < apart_without, found
    assert distance < 1.1 * distance_without, found


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_contrasted_edits_move_their_own_attribute_most(seed: int) -> None:
    """arXiv:2406.04413, embeddings only: edits of a frozen random network's latents, measured on latents not edited in training, along
    the axes of the single attributes, which no text points at: all texts share one more."""
    gen = torch.Generator().manual_seed(seed)
    first, second = torch.randn(12, 48, generator=gen) / 12**0.5, torch.randn(48, 24, generator=gen) / 48**0.5
    texts = normalize(torch.eye(24)[:6] + torch.eye(24)[6], dim=1)  # any two have a cosine of a half
    neutral, start = torch.randn(24, generator=gen), 0.1 * torch.randn(6, 12, generator=gen)
    held = torch.randn(500, 1, 12, generator=gen)

    def seen(latents: torch.Tensor) -> torch.Tensor:
        return (latents @ first).tanh() @ second

    right, strays = [], []
    for contrast in (False, True):
        edits, draws = start.clone().requires_grad_(), torch.Generator().manual_seed(seed + 100)
        optimizer = torch.optim.Adam([edits], lr=0.02)
        for _ in range(200):
            which, latents = torch.randint(6, (24,), generator=draws), torch.randn(24, 12, generator=draws)
            sides = {"queries": seen(latents + edits[which]), "before": seen(latents), "keys": neutral + texts[which]}
            pairs = Changes().pairs({**sides, "neutral": neutral.expand(24, -1)}, {"keys.id": which}, Dot())
            loss = AlignUniform(uniform_weight=0.0)(pairs) / 2
            if contrast:
                loss = loss + InfoNCE(temperature=0.1)(pairs)
            optimizer.zero_grad()
            loss.mean().backward()
            optimizer.step()
        with torch.no_grad():
            along = normalize(seen(held + edits) - seen(held), dim=2)[..., :6]  # (latents, edits, attributes)
        right.append(float((along.argmax(2) == torch.arange(6)).double().mean()))
        squares, own = along.square().mean(0), torch.eye(6, dtype=torch.bool)
        strays.append(float(squares[~own].mean() / squares[own].mean()))
    assert right[1] > max(right[0], 0.98), right
    assert strays[1] < 0.9 * strays[0], strays


class Unread(torch.nn.Module):
    """In place of the two ways of reading: objects and tokens stay what they are."""

    def forward(self, objects: torch.Tensor, tokens: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return objects, tokens


def ranked(encoder: Any, scenes: int = 512) -> float:
    """By how much more often a prediction is nearest to the object it is matched with, of its scene's, than predictions of other scenes
    matched with the same objects are. Matching alone makes that frequent: of one to one, it is the best."""
    held = [row["anchor"] for row in Objects(count=scenes, seed=1) if len(row["classes"]) > 1]
    encoder.eval()
    with torch.no_grad():
        out = encoder(encoder.prepare(held))
    found, wanted = normalize(out.tokens, dim=-1), normalize(out.meta["objects"], dim=-1)
    hits = []
    for shift in range(5):
        of = found.roll(shift, 0)
        item, prediction, target = matching(of, wanted, out.meta["objects_mask"])
        scores = (of[item, prediction, None] * wanted[item]).sum(2).masked_fill(~out.meta["objects_mask"][item], -torch.inf)
        hits.append(float((scores.argmax(1) == target).double().mean()))
    return hits[0] - sum(hits[1:]) / 4


ERROR = {"use": "align_uniform", "uniform_weight": 0.0}  # the squared error


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_aligned_by_contrast_predictions_tell_objects_of_one_scene_apart(seed: int, tmp_path: Path) -> None:
    """MutDet: what all objects of a scene share is no help here; against the squared error to embeddings that are held fixed."""
    gains = []
    for fixed in (False, True):
        recipe = recipe_of("mutdet", seed, **({"regularizers": [{"use": "matched", "loss": ERROR}]} if fixed else {}))
        encoder: Any = recipe.encoder
        if fixed:
            encoder.two_way = Unread()
            torch.nn.init.orthogonal_(encoder.from_objects.weight)
            torch.nn.init.zeros_(encoder.from_objects.bias)
            encoder.from_objects.requires_grad_(False)
        train(recipe, tmp_path / str(fixed), show=False)
        gains.append(ranked(encoder))
    assert gains[0] > 0.03 and gains[0] > gains[1] + 0.005, gains  # little: see the recipe


def test_objects_learned_by_the_squared_error_meet_in_one_point(tmp_path: Path) -> None:
    """Nothing forbids it where neither side is held fixed: why MutDet contrasts."""
    way = [{"use": "matched", "loss": ERROR, "predictions": "enhanced"}, {"use": "matched", "loss": ERROR}]
    recipe = recipe_of("mutdet", 1, regularizers=way)
    train(recipe, tmp_path, show=False)
    encoder: Any = recipe.encoder
    encoder.eval()
    with torch.no_grad():
        out = encoder(encoder.prepare([row["anchor"] for row in Objects(count=64, seed=1)]))
    every = normalize(out.meta["objects"][out.meta["objects_mask"]], dim=1)
    assert float((every @ every.T).min()) > 0.9
