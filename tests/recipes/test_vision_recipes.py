"""What vision papers promise and a training recipe cannot express, or their objective by hand; on small images."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dipole.assembly.build import build
from dipole.assembly.small import small
from dipole.assembly.spec import load
from dipole.train.ranks import objective_of
from dipole.train.recipe import Recipe


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
