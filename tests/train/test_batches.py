"""Batches follow from seed and step alone."""

from __future__ import annotations

import pytest
import torch

from dipole.core.errors import DegenerateBatchError, UsageError
from dipole.train.batches import Batches, share


def test_each_epoch_shows_every_row_once_in_another_order() -> None:
    plan = Batches().plan([30], 5, seed=1)
    assert plan.steps_per_epoch == 6
    epochs = [torch.cat([plan.batch(e * 6 + s) for s in range(6)]) for e in range(3)]
    for epoch in epochs:
        assert epoch.sort().values.tolist() == list(range(30))
    assert not torch.equal(epochs[0], epochs[1]) and not torch.equal(epochs[1], epochs[2])


def test_a_batch_can_be_asked_for_in_any_order_and_ignores_the_global_generator() -> None:
    forward, backward = Batches().plan([30], 4, seed=7), Batches().plan([30], 4, seed=7)
    first = [forward.batch(s) for s in range(20)]
    state = torch.get_rng_state()
    for s in reversed(range(20)):
        torch.rand(3)
        assert torch.equal(backward.batch(s), first[s])
    torch.set_rng_state(state)
    other = Batches().plan([30], 4, seed=8)
    assert not torch.equal(other.batch(0), first[0])


@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_shares_add_up_to_the_batch_for_any_number_of_processes(world: int) -> None:
    batch = Batches().plan([100], 10, seed=0).batch(3)
    shares = [share(batch, rank, world) for rank in range(world)]
    assert torch.equal(torch.cat(shares), batch)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    with pytest.raises(UsageError, match="2 rows cannot be shared by 3"):
        share(batch[:2], 0, 3)


def test_homogeneous_batches() -> None:
    lengths = [9, 20, 14]
    plan = Batches().plan(lengths, 4, seed=0)
    assert plan.steps_per_epoch == 2 + 5 + 3
    source = torch.repeat_interleave(torch.arange(3), torch.tensor(lengths))
    kinds = []
    for step in range(plan.steps_per_epoch):
        of = source[plan.batch(step)].unique()
        assert len(of) == 1
        kinds.append(int(of))
    assert sorted(kinds) == [0] * 2 + [1] * 5 + [2] * 3 and kinds != sorted(kinds)
    mixed = Batches(one_source=False).plan(lengths, 4, seed=0)  # type: ignore[call-arg]
    assert any(len(source[mixed.batch(step)].unique()) > 1 for step in range(mixed.steps_per_epoch))


def test_last_batch_dropped_or_kept() -> None:
    assert [len(Batches().plan([11], 4, 0).batch(s)) for s in range(2)] == [4, 4]
    kept = Batches(last="keep").plan([11], 4, 0)  # type: ignore[call-arg]
    assert [len(kept.batch(s)) for s in range(kept.steps_per_epoch)] == [4, 4, 3]


def test_batches_without_a_pair_are_refused_before_training() -> None:
    with pytest.raises(DegenerateBatchError, match="single row"):
        Batches(last="keep").plan([9], 4, 0)  # type: ignore[call-arg]
    with pytest.raises(DegenerateBatchError, match="data set 2 of 2 holds fewer rows than one batch of 4"):
        Batches().plan([9, 3], 4, 0)
