"""Batches follow from seed and step alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from dipole.core.errors import DataError, DegenerateBatchError, UsageError
from dipole.diagnostics import batches_bind
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


class Held:
    """Rows as a recipe has them."""

    def __init__(self, values: list[object]) -> None:
        self.values, self.fingerprint = values, "held"

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> dict[str, object]:
        return {"anchor": "a", **({} if self.values[index] is None else {"of": self.values[index]})}

    def __iter__(self) -> Iterator[dict[str, object]]:
        return (self[index] for index in range(len(self)))


def test_rows_of_a_group_come_together_in_an_order_of_their_own_each_epoch() -> None:
    sizes = [1, 5, 3, 4, 2, 7, 8]
    values = [name for name, size in zip("abcdefg", sizes, strict=True) for _ in range(size)]
    of = torch.tensor(["abcdefg".index(v) for v in values])
    plan = Batches(together="of").plan([30], 5, 1, Held([*values]))  # type: ignore[call-arg]
    epochs = [torch.cat([plan.batch(e * 6 + s) for s in range(6)]) for e in range(3)]
    for epoch in epochs:
        assert epoch.sort().values.tolist() == list(range(30))
        assert len(of[epoch].unique_consecutive()) == 7  # each group in one piece, cut by batches alone
    assert not torch.equal(epochs[0], epochs[1]) and not torch.equal(of[epochs[0]], of[epochs[1]])
    other = Batches(together="of").plan([30], 5, 1, Held([*values]))  # type: ignore[call-arg]  # a resumed run asks for the middle first
    assert torch.equal(other.batch(11), plan.batch(11)) and torch.equal(other.batch(2), plan.batch(2))


def test_groups_stay_within_their_data_set() -> None:
    plan = Batches(together="of").plan([8, 12], 4, 0, Held(["x"] * 20))  # type: ignore[call-arg]
    assert all(len({int(row) >= 8 for row in plan.batch(step)}) == 1 for step in range(5))


def test_bound_rows_are_in_every_batch_and_the_others_once_an_epoch() -> None:
    labels = torch.arange(32) % 3
    bound = Batches(bind="of").plan([32], 9, 5, Held(labels.tolist()))  # type: ignore[call-arg]
    assert bound.steps_per_epoch == 29 // 6
    batches = [bound.batch(step) for step in range(8)]
    always = batches[0][:3]
    assert labels[always].sort().values.tolist() == [0, 1, 2]
    assert all(torch.equal(batch[:3], always) and len(batch.unique()) == 9 for batch in batches)
    first = torch.cat([batch[3:] for batch in batches[:4]])
    assert len(first.unique()) == 24 and not torch.isin(first, always).any()
    plain = Batches().plan([32], 4, 5)
    assert not batches_bind([plain.batch(step) for step in range(8)], labels)
    assert batches_bind(batches[:4], labels)
    other = Batches(bind="of").plan([32], 9, 6, Held(labels.tolist()))  # type: ignore[call-arg]
    assert not torch.equal(other.batch(0)[:3], always)
    kept = Batches(bind="of", last="keep").plan([32], 9, 5, Held(labels.tolist()))  # type: ignore[call-arg]
    assert [len(kept.batch(step)) for step in range(kept.steps_per_epoch)] == [9, 9, 9, 9, 8]


def test_bound_rows_stay_within_their_data_set() -> None:
    plan = Batches(bind="of").plan([8, 12], 4, 0, Held(["x"] * 8 + ["y"] * 12))  # type: ignore[call-arg]
    for step in range(plan.steps_per_epoch):
        batch = plan.batch(step)
        assert len(batch) == 4 and len({int(row) >= 8 for row in batch}) == 1


def test_a_value_that_two_data_sets_have_is_bound_in_both() -> None:
    plan = Batches(bind="of").plan([8, 12], 4, 0, Held(["x", "y"] * 10))  # type: ignore[call-arg]
    for step in range(plan.steps_per_epoch):
        assert {int(row) % 2 for row in plan.batch(step)[:2]} == {0, 1} and len({int(row) >= 8 for row in plan.batch(step)}) == 1
    mixed = Batches(bind="of", one_source=False).plan([8, 12], 4, 0, Held(["x", "y"] * 10))  # type: ignore[call-arg]
    assert all(torch.equal(mixed.batch(step)[:2], mixed.batch(0)[:2]) for step in range(mixed.steps_per_epoch))


def test_a_column_that_rows_lack_and_more_bound_rows_than_places_are_refused() -> None:
    for what in ("together", "bind"):
        with pytest.raises(DataError, match=rf"batches.{what}: row 2 has no whole number or text in of"):
            Batches(**{what: "of"}).plan([2], 2, 0, Held([1, None]))
    with pytest.raises(DegenerateBatchError, match=r"binds 4 rows to every batch.*set step.batch_size above 4"):
        Batches(bind="of").plan([8], 4, 0, Held([0, 1, 2, 3] * 2))  # type: ignore[call-arg]
