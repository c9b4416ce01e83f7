"""DeGLA: what fine-tuning on compositional captions takes from a model and a slow teacher keeps; toy scenes at four times of day."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dipole.assembly.build import build
from dipole.assembly.metrics import Seen, own_negatives
from dipole.assembly.small import small
from dipole.assembly.spec import load
from dipole.core.made import Made
from dipole.modality.toy.rows.scenes import Scenes
from dipole.train.run import train

LIGHT = {"noon": (0.4, 0.4, 0.4), "dawn": (0.4, 0.1, 0.1), "dusk": (0.1, 0.1, 0.4), "night": (0.0, 0.0, 0.0)}
SCORE = {"use": "scaled_cosine", "initial_temperature": 0.07, "min_temperature": 0.01}


class Lit(Made):
    """Toy scenes in the light of a time of day, ``time`` 0 to 3. ``web``: captions name it, in any order of words; no negatives."""

    def __init__(self, count: int, seed: int, web: bool) -> None:
        chance, rows = random.Random(seed), []
        for row in Scenes(count=count, seed=seed):
            time = chance.choice(list(LIGHT))
            image = (row["anchor"] / 255 + torch.tensor(LIGHT[time])[:, None, None]).clamp(0, 1)
            words = row["positive"].split()
            told = {"positive": f"{' '.join(chance.sample(words, len(words)))} at {time}", "negative": None} if web else {}
            rows.append({**row, **told, "anchor": image, "time": list(LIGHT).index(time)})
        self.keep(rows, repr((count, seed, web)).encode())


HELD = list(Lit(256, 1, web=False))
Figures = tuple[float, float]


def figures(encoder: Any) -> Figures:
    """Shares of scenes whose caption scores above its negatives (0.25 by chance), and whose time of day is found (0.25 by chance)."""
    images = encoder.encode([row["anchor"] for row in HELD], side="queries")
    found = (images @ encoder.encode([f"at {time}" for time in LIGHT], side="keys").T).argmax(1)
    return own_negatives(Seen(encoder, HELD)), float((found == torch.tensor([row["time"] for row in HELD])).double().mean())


def learned(
    folder: Path, rows: Made, start: dict[str, torch.Tensor] | None, seed: int, seen: list[Figures] | None = None, **changes: Any
) -> Any:
    """The encoder after a run, from fresh weights or from those of ``start``; ``seen`` takes its figures after every ten steps."""
    step = {**changes.pop("step"), "seed": seed, "save_steps": 0}
    recipe = replace(build(small(load("degla")).changed({"score": SCORE, "step": step, **changes}, "test")), rows=(rows,))
    encoder: Any = recipe.encoder
    if start is not None:
        for tower in (encoder.encoder, encoder.twin):
            tower.load_state_dict(start)
    if seen is not None:
        follow = encoder.after_step

        def watch(step: int, steps: int) -> None:
            follow(step, steps)
            if step % 10 == 0:
                seen.append(figures(encoder))

        encoder.after_step = watch
    train(recipe, folder, show=False)
    return encoder


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_slow_teacher_keeps_what_compositional_captions_do_not_say(seed: int, tmp_path: Path) -> None:
    """arXiv:2504.16801: self-distillation forgets less than the same training without, stopped as soon as it binds as well."""
    losses = load("degla").parts["losses"]
    plain = {"losses": losses[:1], "negatives": []}
    web = learned(tmp_path / "web", Lit(1024, 0, web=True), None, seed, step={"max_steps": 120, "learning_rate": 3e-3}, **plain)
    start = {name: tensor.clone() for name, tensor in web.encoder.state_dict().items()}
    rows, step = Lit(1024, 2, web=False), {"max_steps": 60, "learning_rate": 1e-3}
    before, taught = figures(web), figures(learned(tmp_path / "taught", rows, start, seed, step=step, losses=losses[:6]))
    alone: list[Figures] = []
    learned(tmp_path / "alone", rows, start, seed, alone, step=step, losses=losses[:3])
    assert before[1] > 0.85 and taught[0] > before[0] + 0.15  # it knew the time, and learns who has which colour
    stopped = next((now for now in alone if now[0] >= taught[0]), alone[-1])
    assert stopped[0] >= taught[0] and taught[1] > stopped[1] + 0.08, (taught, alone)
