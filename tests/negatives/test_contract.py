"""One contract for every negatives part: what holds for all of them is tested for all of them."""

import copy
import pickle
from dataclasses import replace

import pytest
import torch

from dipole.assembly.discover import discover
from dipole.core.encoded import Encoded
from dipole.losses import InfoNCE
from dipole.modality.toy.encoders.bag import Bag
from dipole.modality.toy.rows.sentences import Sentences
from dipole.negatives.hardest import Hardest
from dipole.negatives.outside_batch import OutsideBatch
from dipole.negatives.queue import Queue
from dipole.pairwise import using
from dipole.pairwise.scores.scaled_cosine import ScaledCosine
from dipole.train.check import check, gradient, relative
from dipole.train.ranks import objective_of
from dipole.train.recipe import Recipe
from dipole.train.step import Step
from dipole.views.aligned import Aligned
from tests.negatives.catalogue import CASES


class Ragged:
    """Rows of three tasks, with none to three hard negatives of their own."""

    def __init__(self, count):
        self.rows = [
            {**row, "negative": [row["negative"] + " x" * n for n in range(i % 4)], "task": f"task {i * i % 3}"}
            for i, row in enumerate(Sentences(count))
        ]
        self.fingerprint = str(count)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


def recipe(name, **changes):
    torch.manual_seed(0)
    case = CASES[name]
    made = Recipe(
        rows=(Ragged(64),),
        views=Aligned(),
        encoder=case.around(Bag(dimension=8)),
        losses=copy.deepcopy(case.losses),
        between=case.between,
        score=ScaledCosine(),
        negatives=(*case.before(), case.make()),
        step=Step(batch_size=12, micro_batch_size=5, learning_rate=1e-2),
    )
    return replace(made, **changes)


def batches(made, lengths=(11, 7, 10)):
    """Ragged batches: none as long as the one before."""
    rows, found = iter(list(made.rows[0].rows)), []
    for length in lengths:
        found.append([next(rows) for _ in range(length)])
    return found


def compared(made, count=3):
    """The objective after ``count - 1`` steps, and what the last one compares."""
    torch.manual_seed(1)
    objective, encoder = objective_of(made), made.encoder.eval()
    for rows in batches(made)[:count]:
        objective.after_step()
        batch = objective.complete(made.views(rows), getattr(encoder, "learns", lambda side: True))
        sides = {side: encoder(encoder.prepare(items, side)) for side, items in batch.items.items()}
        sides = {side: Encoded(e.pooled.detach()) for side, e in sides.items()}
        with torch.no_grad():
            objective(sides, batch.meta)
    return objective, sides, batch.meta


def values(objective, sides, meta, backend="auto", tile_side=0):
    """The loss and its gradient on every side."""
    live = {side: Encoded(e.pooled.clone().requires_grad_()) for side, e in sides.items()}
    with using(backend, tile_side):
        loss = objective(live, meta)
        loss.backward()
    return loss.detach(), [e.pooled.grad for e in live.values() if e.pooled.grad is not None]


def test_every_part_is_in_the_catalogue():
    covered = {type(case.make()).__module__ for case in CASES.values()}
    assert covered == {found.module for found in discover("negatives").values()}


@pytest.mark.parametrize("name", CASES)
def test_extending_changes_nothing_and_gives_the_same_again(name):
    objective, sides, meta = compared(recipe(name))
    before = copy.deepcopy(objective.state_dict())
    one, two = values(objective, sides, meta), values(objective, sides, meta)
    assert torch.equal(one[0], two[0]) and all(torch.equal(a, b) for a, b in zip(one[1], two[1], strict=True))
    after = objective.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[n], after[n]) for n in before)


@pytest.mark.parametrize("name", CASES)
def test_it_makes_a_difference(name):
    if reason := CASES[name].exempt.get("test_it_makes_a_difference"):
        pytest.skip(reason)
    made = recipe(name)
    objective, sides, meta = compared(made)
    plain = objective_of(replace(made, negatives=made.negatives[:-1]))
    assert relative(values(plain, sides, meta)[0], values(objective, sides, meta)[0]) > 1e-4


@pytest.mark.parametrize("name", CASES)
def test_gradients_reach_every_side_of_the_views_and_no_other(name):
    objective, sides, meta = compared(recipe(name))
    live = {side: Encoded(e.pooled.clone().requires_grad_()) for side, e in sides.items()}
    objective(live, meta).backward()
    answering = {side for sides in CASES[name].between for side in sides if side.endswith("_twin")}  # constant where an encoder made them
    assert {side for side, e in live.items() if e.pooled.grad is not None} - answering == {"queries", "keys", "negatives"}


@pytest.mark.parametrize("name", CASES)
def test_streamed_equals_dense(name):
    objective, sides, meta = compared(recipe(name))
    sides = {side: Encoded(e.pooled.double()) for side, e in sides.items()}
    objective.double()
    streamed, dense = (values(objective, sides, meta, backend, 3) for backend in ("eager", "dense"))
    torch.testing.assert_close(streamed, dense, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_cached_equals_plain(name):
    made = recipe(name)
    run = [made.views(rows) for rows in batches(made)]
    cached, plain = (gradient(made, run, cached=way, micro_batch_size=4) for way in (True, False))
    assert float(plain.norm()) > 0 and relative(cached, plain) < 1e-6


@pytest.mark.parametrize("name", CASES)
def test_resumed_equals_uninterrupted(name):
    (finding,) = check(recipe(name), rows=12, steps=6, only=["resumed = unbroken"]).findings
    assert finding.passed and finding.difference == 0


@pytest.mark.parametrize("name", CASES)
def test_state_is_saved_and_copied(name):
    """A fresh part with the state loaded, a pickled and a copied one extend as the original does."""
    objective, sides, meta = compared(recipe(name))
    want = values(objective, sides, meta)
    fresh = objective_of(recipe(name))
    fresh.load_state_dict(objective.state_dict())
    for other in (fresh, copy.deepcopy(objective), pickle.loads(pickle.dumps(objective))):
        got = values(other, sides, meta)
        torch.testing.assert_close(got, want, rtol=0, atol=0)


@pytest.mark.parametrize("name", CASES)
def test_low_precision_vectors(name):
    made = recipe(name)
    objective, sides, meta = compared(made)
    want = values(objective, sides, meta)
    half = {side: Encoded(e.pooled.bfloat16()) for side, e in sides.items()}
    got = values(objective, half, meta)
    assert relative(got[0], want[0]) < 0.02


def test_check_proves_training_with_a_filtered_queue_of_the_momentum_encoder():
    made = recipe(
        "queue of a side the views do not have",
        losses=(InfoNCE(temperature=1.0),),
        between=(),
        negatives=(Queue(size=18, of="queries_twin"), OutsideBatch(), Hardest(keep=9)),
    )
    report = check(made, rows=12, batches=1)
    assert [f.passed for f in report.findings] == [True] * 5, report
