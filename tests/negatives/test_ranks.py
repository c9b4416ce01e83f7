"""Two processes against one, for every negatives part: uneven shares, the gradient and the state of one process."""

import pytest
import torch

from dipole.train.check import last_gradient
from dipole.train.ranks import objective_of
from tests.negatives.catalogue import CASES
from tests.negatives.test_contract import batches, recipe
from tests.processes import on_ranks


def found(name, cached, rank=0, world=1):
    """The gradient of the third step and what the part keeps after it; a process takes its share of every batch."""
    made = recipe(name)
    encoder, objective = made.encoder.double().eval(), objective_of(made, world).double()
    torch.manual_seed(rank)  # ranks do not share their generators
    cut = [slice(None)] if world == 1 else [slice(0, 4), slice(4, None)]
    gradient = last_gradient(encoder, objective, [made.views(rows[cut[rank]]) for rows in batches(made)], 3, cached)
    objective.after_step()
    return gradient, objective.kept.state_dict()


def work(rank, world):
    return {(name, cached): found(name, cached, rank, world) for name in CASES for cached in (False, True)}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    return on_ranks(work, 2, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("cached", [False, True], ids=["plain", "cached"])
@pytest.mark.parametrize("name", CASES)
def test_ranks_equal_one(name, cached, outcome):
    gradient, kept = found(name, cached)
    shares = [rank[name, cached] for rank in outcome]
    averaged = (shares[0][0] + shares[1][0]) / 2
    assert float((averaged - gradient).norm()) <= 1e-10 * float(gradient.norm())
    for _, state in shares:
        torch.testing.assert_close(state, kept, rtol=1e-10, atol=1e-12)
