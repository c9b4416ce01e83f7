"""What vision papers promise and a training recipe cannot express, or their objective by hand; on small images."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch.nn.functional import normalize

from dipole.assembly.build import build
from dipole.assembly.metrics import probe_accuracy
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
    """How differently hidden parts are told in two views of test clouds, their Chamfer distance, and the spread of their tokens."""
    encoder: Any = recipe.encoder
    items = [row["anchor"] for row in Shapes(count=100, points=64, seed=1)]
    encoder.train()
    torch.manual_seed(0)
    with torch.no_grad():
        views = {side: encoder(encoder.prepare(items, side)) for side in ("queries", "keys")}
    hidden = views["queries"].tokens[views["queries"].meta["masked"]]
    return float(MaskedAgreement().over_encoded(views)), float(Chamfer().over_encoded(views)), float(hidden.std(0).mean())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_reconstruction_keeps_the_agreement_of_hidden_parts_from_collapse(seed: int, tmp_path: Path) -> None:
    """arXiv:2407.05862: nothing repels; reconstruction does not suffer, agreement does not come by itself, and alone it collapses."""
    terms = [{"use": "chamfer", "weight": 10.0}, {"use": "masked_agreement"}]
    found = {}
    for name, given in (("both", terms), ("chamfer", terms[:1]), ("agreement", terms[1:])):
        recipe = recipe_of("point-cmae", seed, regularizers=given)
        train(recipe, tmp_path / name, show=False)
        found[name] = told_of(recipe)
    apart, distance, spread = found["both"]
    assert apart < 0.1 < 0.5 < found["chamfer"][0]
    assert distance < 1.1 * found["chamfer"][1] < 0.5 * found["agreement"][1]
    assert spread > 1.5 * found["agreement"][2]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_contrasted_edits_leak_less_into_other_attributes(seed: int) -> None:
    """arXiv:2406.04413, embeddings only: a linear generator under a frozen linear image encoder, attributes whose texts share a part."""
    gen = torch.Generator().manual_seed(seed)
    encoder = torch.randn(12, 24, generator=gen) / 12**0.5
    texts = normalize(torch.eye(24)[:6] + torch.eye(24)[6], dim=1)  # any two have a cosine of a half
    neutral, views = torch.randn(24, generator=gen), Changes()
    leaks = []
    for contrast in (False, True):
        edits = (0.1 * torch.randn(6, 12, generator=torch.Generator().manual_seed(seed))).requires_grad_()
        optimizer = torch.optim.Adam([edits], lr=0.02)
        for _ in range(200):
            which = torch.randint(6, (24,), generator=gen)
            latents = torch.randn(24, 12, generator=gen)
            sides = {
                "queries": (latents + edits[which]) @ encoder,
                "before": latents @ encoder,
                "keys": neutral + texts[which],
                "neutral": neutral.expand(24, -1),
            }
            pairs = views.pairs(sides, {"keys.id": which}, Dot())
            loss = AlignUniform(uniform_weight=0.0)(pairs) / 2
            if contrast:
                loss = loss + InfoNCE(temperature=0.1)(pairs)
            optimizer.zero_grad()
            loss.mean().backward()
            optimizer.step()
        cosines = normalize(edits.detach() @ encoder, dim=1) @ texts.T
        assert torch.equal(cosines.argmax(1), torch.arange(6))
        leaks.append(float(cosines[~torch.eye(6, dtype=torch.bool)].mean()))
    assert leaks[1] < leaks[0] - 0.1, leaks


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_aligned_by_contrast_a_detector_tells_objects_apart(seed: int, tmp_path: Path) -> None:
    """MutDet: predictions of the plain detector, on scenes not trained on, find their own object among all, and say its class. With the
    squared error in place of the contrast both sides meet in one point: nothing forbids it where neither is held fixed."""
    error = {"use": "align_uniform", "uniform_weight": 0.0}
    ways = [[{"use": "matched", "loss": error, "predictions": "enhanced"}, {"use": "matched", "loss": error}], None]
    held = list(Objects(count=128, seed=1))
    measured = []
    for number, way in enumerate(ways):
        recipe = recipe_of("mutdet", seed, **({"regularizers": way} if way else {}))
        train(recipe, tmp_path / str(number), show=False)
        encoder: Any = recipe.encoder
        encoder.eval()
        with torch.no_grad():
            out = encoder(encoder.prepare([row["anchor"] for row in held]))
        found, wanted = normalize(out.tokens, dim=-1), normalize(out.meta["objects"], dim=-1)
        item, prediction, target = matching(found, wanted, out.meta["objects_mask"])
        mine, own = found[item, prediction], wanted[item, target]
        right = (mine @ own.T).argmax(1) == torch.arange(len(mine))
        classes = torch.tensor([held[i]["classes"][t] for i, t in zip(item.tolist(), target.tolist(), strict=True)])
        seen: Any = SimpleNamespace(anchors=mine, labels=classes)
        measured.append((float(right.double().mean()), probe_accuracy(seen)))
    (error_found, error_class), (found_own, found_class) = measured
    assert found_own > error_found + 0.3 and found_class > error_class + 0.2, measured
