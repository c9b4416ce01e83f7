"""The twin follows by MoCo's rule, learns nothing, and costs no gradient pass."""

import copy
import math

import pytest
import torch

from dipole.assembly.build import build, resolved
from dipole.assembly.spec import load
from dipole.core.errors import ParameterError, UsageError
from dipole.encoders.momentum import Momentum
from dipole.losses import InfoNCE
from dipole.modality.toy.encoders.bag import Bag
from dipole.negatives.queue import Queue
from dipole.train.objective import Objective
from dipole.train.step import backward
from dipole.views.aligned import Aligned
from tests.train.stand_in import Sentences

TEXTS = ["a b c", "d e", "f g h i"]


def test_the_twin_starts_equal_and_follows_geometrically():
    """With constant weights the distance shrinks by the decay each step: theta_m - theta = m^t (theta_m0 - theta)."""
    torch.manual_seed(0)
    encoder = Momentum(Bag(dimension=4), decay=0.9)
    assert torch.equal(encoder.twin.linear.weight, encoder.encoder.linear.weight)
    start = encoder.twin.linear.weight.clone()
    with torch.no_grad():
        encoder.encoder.linear.weight.add_(torch.randn(4, 4))
    now = encoder.encoder.linear.weight
    for step in range(1, 6):
        encoder.after_step(step, 5)
        torch.testing.assert_close(encoder.twin.linear.weight - now, 0.9**step * (start - now))


def test_the_cosine_schedule_ends_frozen():
    encoder = Momentum(Bag(dimension=4), decay=0.5, schedule="cosine")
    with torch.no_grad():
        encoder.encoder.linear.weight.zero_()
    before = encoder.twin.linear.weight.clone()
    encoder.after_step(1, 4)
    stays = 1 - 0.5 * (math.cos(math.pi / 4) + 1) / 2
    torch.testing.assert_close(encoder.twin.linear.weight, before * stays)
    before = encoder.twin.linear.weight.clone()
    encoder.after_step(4, 4)
    assert torch.equal(encoder.twin.linear.weight, before)


def test_which_sides_the_twin_encodes():
    encoder = Momentum(Bag(dimension=4, dropout=0.5), sides=("keys", "negatives"))
    with torch.no_grad():
        encoder.twin.linear.weight.zero_()
    for side, learns in {"queries": True, "keys": False, "negatives": False, "queries_twin": False}.items():
        pooled = encoder(encoder.prepare(TEXTS, side)).pooled
        assert encoder.learns(side) == learns == pooled.requires_grad
        assert bool((pooled == 0).all()) != learns


def test_dropout_of_the_twin_is_off_unless_asked_for():
    for wanted in (False, True):
        encoder = Momentum(Bag(dimension=4, dropout=0.5), dropout=wanted).train()
        a, b = (encoder(encoder.prepare(TEXTS, "keys")).pooled for _ in range(2))
        assert torch.equal(a, b) != wanted
        assert encoder.encoder.training and encoder.twin.training == wanted
        assert not encoder.eval().twin.training


def test_the_second_pass_of_caching_leaves_the_twin_alone():
    """Keys of the twin are encoded once: their gradient has nowhere to go."""
    encoder = Momentum(Bag(dimension=4))
    objective, calls = Objective(Aligned(), torch.nn.Identity(), [lambda pairs: pairs.queries.sum(1)]), []
    encoder.twin.register_forward_hook(lambda *_: calls.append(1))
    backward(encoder, encoder, objective, objective.views(list(Sentences(8))), 2, cached=True)
    assert len(calls) == 4
    assert all(p.grad is None for p in encoder.twin.parameters())
    assert encoder.encoder.linear.weight.grad is not None


def test_what_is_saved_and_asked_is_the_encoder_inside(tmp_path):
    bag = Bag(dimension=4)
    encoder = Momentum(bag)
    encoder.save(tmp_path / "model")
    assert Bag.load(tmp_path / "model").identity == bag.identity == encoder.identity
    assert torch.equal(encoder.encode(TEXTS), bag.encode(TEXTS)) and encoder.dimension == 4
    assert {n.split(".")[0] for n in encoder.state_dict()} == {"encoder", "twin"}
    assert torch.equal(copy.deepcopy(encoder).encode(TEXTS), bag.encode(TEXTS))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        encoder.nothing  # noqa: B018


def test_a_side_that_must_not_learn_needs_a_twin():
    objective = Objective(Aligned(), torch.nn.Identity(), [InfoNCE()], negatives=[Queue(size=4, of="queries_twin")])
    with pytest.raises(UsageError, match=r"side 'queries_twin' must come from an encoder that does not learn.*momentum"):
        backward(Bag(), Bag(), objective, objective.views(list(Sentences(4))), 0)


RECIPE = """schema = 1
[parts]
rows = { use = "toy.sentences", count = 40 }
views = "aligned"
encoder = [{ use = "toy.bag", dimension = 8 }, { use = "momentum", decay = 0.9, sides = ["keys"] }]
negatives = { use = "queue", size = 16 }
losses = "infonce"
"""


def test_a_recipe_lists_the_encoder_and_what_goes_around_it(tmp_path):
    file = tmp_path / "moco.toml"
    file.write_text(RECIPE)
    spec = load(file)
    recipe = build(spec)
    assert isinstance(recipe.encoder, Momentum) and recipe.encoder.encoder.dimension == 8 and recipe.encoder.sides == ("keys",)
    (tmp_path / "again.toml").write_text(resolved(spec))
    assert resolved(load(tmp_path / "again.toml")) == resolved(spec)
    other = build(spec.changed({"encoder": "toy.bag"}, "test"))
    assert other.encoder.encoder.dimension == 32 and other.encoder.decay == 0.9  # wrappers stay
    assert build(spec.changed({"encoder": {"dimension": 5}}, "test")).encoder.dimension == 5
    assert isinstance(build(spec.changed({"encoder": ["toy.bag"]}, "test")).encoder, Bag)
    for wrong, said in (
        ('"momentum"', "momentum goes around an encoder"),
        ('["toy.bag", "toy.bag"]', "toy.bag goes around nothing"),
        ('["toy.bag", { use = "momentum", decay = 2 }]', "decay must be a number from 0.0 to 1.0"),
        ('["toy.bag", { use = "momentum", sides = "keys" }]', "sides must be a list of texts"),
    ):
        file.write_text(RECIPE.replace(RECIPE.splitlines()[4].split(" = ", 1)[1], wrong))
        with pytest.raises((UsageError, ParameterError), match=said):
            build(load(file))
