"""Every registered loss through the real step: cached equals plain to 1e-6 in float32, dropout and learned parameters on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch

from dipole.assembly.discover import discover
from dipole.core.errors import DegenerateBatchError
from dipole.core.pairs import Pairs
from dipole.core.protocols import Batch, Row
from dipole.core.scores import Score
from dipole.core.vectors import Vectors
from dipole.losses import Distilled, InfoNCE, KeysAsk
from dipole.pairwise.scores.scaled_cosine import ScaledCosine
from dipole.train.objective import Objective
from dipole.train.step import Step, backward
from dipole.views.aligned import Aligned
from dipole.views.labelled import Labelled
from tests.catalogue import LOSSES, loss_of, pairs_for
from tests.train.stand_in import Bag, Sentences


class AsInTheCatalogue:
    """Rows to the pairs that a loss of the catalogue takes."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, rows: Sequence[Row]) -> Batch:
        items = {"queries": [r["anchor"] for r in rows], "keys": [r["positive"] for r in rows]}
        return Batch(items, {"queries.label": torch.tensor([r["label"] for r in rows])})

    def pairs(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor], score: Score) -> Pairs:
        found: Pairs = pairs_for(self.name, sides["queries"], sides["keys"], meta["queries.label"])
        return found


def gradients(loss: Any, cached: bool, micro: int = 4, views: Any = None) -> tuple[float, list[torch.Tensor]]:
    encoder = Bag(seed=3, dropout=0.3)
    objective = Objective(views or Aligned(), ScaledCosine(), [loss])
    torch.manual_seed(11)
    rows = [{**row, "label": i % 4, "negative": f"w{i}1 w{i}2"} for i, row in enumerate(Sentences(14))]
    done = backward(encoder, encoder, objective, objective.views(rows), micro, cached=cached)
    learned = [*encoder.named_parameters(), *objective.named_parameters()]
    assert all(p.grad is not None for n, p in learned if n != "score.log_scale")  # not every kind of pairs takes the step's score
    found = [p.grad.clone() for _, p in learned if p.grad is not None]
    for _, p in learned:
        p.grad = None
    return float(done.loss), found


@pytest.mark.parametrize("name", LOSSES)
def test_cached_equals_plain_for_every_loss(name: str) -> None:
    ours, theirs = (gradients(loss_of(name), cached, views=AsInTheCatalogue(name)) for cached in (True, False))
    assert ours[0] == theirs[0]
    whole = max(float(b.norm()) for b in theirs[1])  # some gradients are 0 but for rounding: a shift changes no distance
    for a, b in zip(ours[1], theirs[1], strict=True):
        assert float((a - b).norm()) <= 1e-6 * whole


def test_a_dropped_random_state_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The equality above has teeth: without the random state the second pass draws other dropout masks."""
    loss = InfoNCE()  # type: ignore[call-arg]
    plain = gradients(loss, False)[1]
    monkeypatch.setattr("dipole.train.cache.RandomState.restore", lambda self: None)
    broken = gradients(loss, True)[1]
    assert any(float((a - b).norm()) > 1e-2 * float(b.norm()) for a, b in zip(broken, plain, strict=True))


def test_the_reported_loss_is_the_mean_and_weights_count() -> None:
    encoder, rows = Bag(dropout=0.0), [dict(r) for r in Sentences(6)]
    loss = InfoNCE(temperature=1.0)  # type: ignore[call-arg]
    objective = Objective(Aligned(), ScaledCosine(), [loss, loss], [2.0, 0.5])
    batch = objective.views(rows)
    done = backward(encoder, encoder, objective, batch, 0)
    q, k = (torch.nn.functional.normalize(encoder(encoder.prepare(batch.items[s])).pooled, dim=-1) for s in ("queries", "keys"))
    expected = 2.5 * torch.nn.functional.cross_entropy(q @ k.T / 0.07, torch.arange(6))
    assert float(done.loss) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert objective.seen is not None and objective.seen.losses == pytest.approx(
        [float(expected.detach()) * s / 2.5 for s in (2.0, 0.5)], rel=1e-5
    )


def test_vectors_come_back_in_the_order_of_the_items() -> None:
    """Items are sorted by size into micro batches; what the loss sees is not."""
    encoder, objective = Bag(dropout=0.0), Objective(Aligned(), ScaledCosine(), [InfoNCE(temperature=1.0)])  # type: ignore[call-arg]
    batch = objective.views(list(Sentences(9)))
    done = backward(encoder, encoder, objective, batch, 2)
    torch.testing.assert_close(done.sides["queries"].pooled, encoder(encoder.prepare(batch.items["queries"])).pooled.detach())


@pytest.mark.parametrize("loss", [InfoNCE, discover("losses")["siglip"].load()])
def test_a_batch_of_one_is_refused(loss: Any) -> None:
    encoder, objective = Bag(), Objective(Aligned(), ScaledCosine(), [loss()])
    with pytest.raises(DegenerateBatchError, match="at least two candidates"):
        backward(encoder, encoder, objective, objective.views(list(Sentences(1))), 0)


def test_a_batch_without_a_positive_is_refused() -> None:
    encoder, objective = Bag(), Objective(Labelled(), ScaledCosine(), [InfoNCE()])  # type: ignore[call-arg]
    batch = Batch({"queries": ["a b", "c d"]}, {"queries.label": torch.tensor([0, 1])})
    with pytest.raises(DegenerateBatchError, match="no row of the batch has a positive"):
        backward(encoder, encoder, objective, batch, 0)


def test_rate() -> None:
    step = Step(learning_rate=1.0, warmup=0.5, schedule="cosine")  # type: ignore[call-arg]
    assert [step.rate(s, 8) for s in range(8)] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 0.853553, 0.5, 0.146447], abs=1e-6)
    assert Step(schedule="constant", learning_rate=0.3).rate(7, 8) == 0.3  # type: ignore[call-arg]
    assert Step(num_train_epochs=0.5).steps(9) == 5 and Step(max_steps=3).steps(9) == 3  # type: ignore[call-arg]


def test_a_term_over_embeddings_sees_the_labels_of_its_sides() -> None:
    class Centroids:
        """Squared length of the mean of class 1."""

        def over_encoded(self, sides: Any) -> torch.Tensor:
            side = sides["queries"]
            assert set(side.meta) == {"label"} and side.tokens is not None  # no ``reads``: every field is there
            return side.pooled[side.meta["label"] == 1].mean(0).square().sum()

    encoder, objective = Bag(dropout=0.0), Objective(Labelled(), ScaledCosine(), [Centroids()], [3.0])  # type: ignore[list-item]
    rows = [{**row, "label": i % 2} for i, row in enumerate(Sentences(6))]
    done = backward(encoder, encoder, objective, objective.views(rows), 2)
    own = encoder(encoder.prepare([row["anchor"] for row in rows[1::2]])).pooled.mean(0).square().sum()
    assert float(done.loss) == pytest.approx(3 * float(own.detach()), rel=1e-5)


def test_a_loss_inside_another_learns_of_each_step_once() -> None:
    """A teacher's share that rises, in the other direction too."""
    plain, inner = Distilled(ramp=8), Distilled(ramp=8)
    objective = Objective(Aligned(), ScaledCosine(), [plain, KeysAsk(inner), InfoNCE()])
    for _ in range(3):
        objective.after_step()
    assert plain.rising.height == inner.rising.height == 3 / 8
    again = Objective(Aligned(), ScaledCosine(), [Distilled(ramp=8), KeysAsk(Distilled(ramp=8)), InfoNCE()])
    again.load_state_dict(objective.state_dict())
    assert [loss.rising.height for loss in again.modules() if isinstance(loss, Distilled)] == [3 / 8, 3 / 8]
