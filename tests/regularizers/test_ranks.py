"""Two processes against one, for every regularizer: the averaged gradient of uneven shares is the gradient of the whole batch."""

import pytest
import torch

from dipole.losses import InfoNCE
from dipole.pairwise.scores.scaled_cosine import ScaledCosine
from dipole.train.objective import Objective
from dipole.train.ranks import average_gradients, reach_of
from dipole.train.step import backward
from tests.processes import on_ranks
from tests.regularizers.catalogue import REGULARIZERS, Labels, Telling
from tests.train.stand_in import Sentences

CUT, ROWS = 5, 13


def found(name, rows, world, cached, beside=False):
    """The reported share and all gradients. ``beside``: a loss over pairs comes along, which must see its own rows as before."""
    encoder = Telling(dropout=0.0).double()
    losses = [REGULARIZERS[name].make(8), *([InfoNCE(temperature=1.0)] if beside else [])]
    objective = Objective(Labels(), ScaledCosine(), losses, [0.5, 2.0][: len(losses)], reach=reach_of(world), world_size=world).double()
    torch.manual_seed(world + rows[0]["label"])  # ranks do not share their generators
    backward(encoder, encoder, objective, objective.views(rows), 4, cached=cached)
    learned = [p for p in (*encoder.parameters(), *objective.parameters()) if p.requires_grad]
    average_gradients(learned, world)
    return objective.seen.losses, [torch.zeros_like(p) if p.grad is None else p.grad for p in learned]


def data():
    return [{**row, "label": i % 4} for i, row in enumerate(Sentences(ROWS))]


WAYS = [(False, False), (True, False), (True, True)]


def work(rank, world):
    rows = data()[:CUT] if rank == 0 else data()[CUT:]
    return {(name, *way): found(name, rows, world, *way) for name in REGULARIZERS for way in WAYS}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    return on_ranks(work, 2, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize(("cached", "beside"), WAYS)
@pytest.mark.parametrize("name", REGULARIZERS)
def test_two_ranks_are_one(outcome, name, cached, beside):
    reason = REGULARIZERS[name].exempt.get("test_two_ranks_are_one")
    if reason:
        pytest.skip(reason)
    want, want_grads = found(name, data(), 1, cached, beside)
    shares = [out[name, cached, beside][0] for out in outcome]
    torch.testing.assert_close(torch.tensor(shares).sum(0), torch.tensor(want), rtol=1e-6, atol=1e-9)
    whole = max(float(g.norm()) for g in want_grads)
    for out in outcome:
        for got, w in zip(out[name, cached, beside][1], want_grads, strict=True):
            assert float((got - w).norm()) <= 1e-7 * whole
