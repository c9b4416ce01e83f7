"""A clustered memory: who is found by hand, even clusters, means of members, and when nothing is added."""

import pytest
import torch
from torch.nn.functional import normalize

from dipole import Pairs
from dipole.core.errors import ParameterError, UsageError
from dipole.losses import PredictedTwin
from dipole.negatives.neighbours import Neighbours
from dipole.negatives.twin_views import TwinViews


def sides(n=8, d=4, seed=0):
    gen = torch.Generator().manual_seed(seed)
    draw = lambda: normalize(torch.randn(n, d, generator=gen), dim=1)  # noqa: E731
    return {side: draw() for side in ("queries", "keys", "queries_twin", "keys_twin")}


def filled(count=2, steps=4, **given):
    made = Neighbours(clusters=3, size=32, count=count, **given)
    for step in range(steps):
        made.update(sides(seed=step), {})
    return made


def extended(made, given):
    pairs = TwinViews().extend(Pairs.aligned(given["queries"], given["keys"]), given, {})
    return made.extend(pairs, given, {})


def test_neighbours_are_those_of_the_nearest_prototypes_members():
    made, given = filled(), sides(seed=9)
    held, label = made.memory.vectors, made.memory.label
    for name, side in (("queries", "queries_twin"), ("keys", "keys_twin")):
        for i, vector in enumerate(given[side]):
            own = int((normalize(made.prototypes, dim=1) @ vector).argmax())
            members = [j for j in range(32) if label[j] == own]
            members = members if len(members) >= 2 else list(range(32))
            best = sorted(members, key=lambda j: -float(held[j] @ vector))[:2]
            for k, j in enumerate(best):
                channel = extended(made, given).channels[f"twin_{k + 1}"]
                assert torch.equal(getattr(channel, name)[i], held[j])


def test_predictions_are_drawn_to_all_of_them():
    made, given = filled(), sides(seed=9)
    pairs = extended(made, given)
    want = 0.0
    for name in ("twin", "twin_1", "twin_2"):
        channel = pairs.channels[name]
        want = want - ((given["queries"] * channel.keys).sum(1) + (given["keys"] * channel.queries).sum(1)) / 6
    torch.testing.assert_close(PredictedTwin(dimension=4, hidden=0)(pairs), want)


def test_prototypes_are_means_and_batches_are_spread_evenly_over_them():
    made = filled(steps=2)
    assert made.full and made.prototypes.shape == (3, 4)
    for step in range(2, 5):
        made.update(sides(seed=step), {})
    for k in range(3):
        members = made.memory.vectors[made.memory.label == k]
        if len(members):
            torch.testing.assert_close(made.prototypes[k], members.mean(0))
    last = made.memory.label.bincount(minlength=3)
    assert last.min() >= 6 and last.sum() == 32  # no cluster takes all: 32 / 3 each, up to how sure the assignment is


def test_nothing_is_added_before_the_memory_is_full_or_the_start_or_for_no_neighbours():
    given = sides(seed=9)
    for made in (filled(steps=1), filled(start=9), filled(count=0)):
        assert list(extended(made, given).channels) == ["twin"]
    assert list(extended(filled(start=4), given).channels) == ["twin", "twin_1", "twin_2"]
    with pytest.raises(UsageError, match="no channel twin"):
        filled().extend(Pairs.aligned(given["queries"], given["keys"]), given, {})
    with pytest.raises(ParameterError, match="at least clusters and count"):
        Neighbours(clusters=9, size=8)
