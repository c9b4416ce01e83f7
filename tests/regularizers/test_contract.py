"""One contract for every regularizer: what holds for all of them is tested for all of them."""

import copy
import pickle
import pkgutil

import pytest
import torch

import dipole.regularizers
from dipole.core.errors import DegenerateBatchError
from dipole.core.part import is_part
from dipole.train.objective import Objective
from dipole.train.step import backward
from tests.regularizers.catalogue import REGULARIZERS, Labels, Telling, sides_of
from tests.train.stand_in import Sentences

N, D = 12, 6


@pytest.fixture(autouse=True)
def _exempt(request):
    name = getattr(request.node, "callspec", None) and request.node.callspec.params.get("name")
    reason = REGULARIZERS[name].exempt.get(request.node.originalname) if name else None
    if reason:
        pytest.skip(reason)


def test_exemptions_name_tests_of_this_folder():
    tests = {name for name in globals() if name.startswith("test_")} | {"test_two_ranks_are_one"}
    for name, case in REGULARIZERS.items():
        assert set(case.exempt) <= tests, f"{name}: no such contract test"
        assert all(len(reason) > 20 for reason in case.exempt.values()), f"{name}: say why"


def test_every_regularizer_is_in_the_catalogue():
    modules = [m.name for m in pkgutil.walk_packages(dipole.regularizers.__path__, "dipole.regularizers.") if not m.ispkg]
    declared = {m for m in modules if any(is_part(v) and v.__module__ == m for v in vars(__import__(m, fromlist=["x"])).values())}
    assert {type(case.make(2)).__module__ for case in REGULARIZERS.values()} == declared


def batch(dtype=torch.float64, n=N):
    gen = torch.Generator().manual_seed(3)
    q = torch.randn(n, D, generator=gen, dtype=torch.float64)
    k = q + torch.randn(n, D, generator=gen, dtype=torch.float64) / 2
    return q.to(dtype), k.to(dtype), torch.arange(n) % 4


def made(name, dtype=torch.float64, dimension=D):
    """A fresh term; what it learns, drawn alike every time, in the precision of the vectors."""
    torch.manual_seed(1)
    term = REGULARIZERS[name].make(dimension)
    return term.to(dtype) if isinstance(term, torch.nn.Module) else term


def value_and_grads(name, q, k, labels, term=None):
    q, k = q.clone().requires_grad_(), k.clone().requires_grad_()
    value = (term or made(name, q.dtype)).over_encoded(sides_of(q, k, labels))
    grads = torch.autograd.grad(value, [q, k], allow_unused=True)
    return value.detach(), [torch.zeros_like(q) if g is None else g for g in grads]


@pytest.mark.parametrize("name", REGULARIZERS)
def test_a_scalar_of_the_right_precision_that_moves_something(name):
    for dtype, want in ((torch.float32, torch.float32), (torch.float64, torch.float64)):
        value, grads = value_and_grads(name, *batch(dtype))
        assert value.shape == () and value.dtype == want and bool(value.isfinite())
        assert any(bool(g.isfinite().all()) and float(g.norm()) > 0 for g in grads)


@pytest.mark.parametrize("name", REGULARIZERS)
def test_half_precision_vectors_keep_float32_statistics(name):
    q, k, labels = batch(torch.bfloat16)
    value, grads = value_and_grads(name, q, k, labels, made(name, torch.float32))
    want, want_grads = value_and_grads(name, q.float(), k.float(), labels)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, want, rtol=1e-5, atol=1e-6)
    for got, w in zip(grads, want_grads, strict=True):
        assert got.dtype == torch.bfloat16 and (got.float() - w).norm() <= w.norm() / 64


@pytest.mark.parametrize("name", REGULARIZERS)
def test_the_order_of_items_does_not_matter(name):
    q, k, labels = batch()
    order = torch.randperm(N, generator=torch.Generator().manual_seed(1))
    value, grads = value_and_grads(name, q, k, labels)
    moved, moved_grads = value_and_grads(name, q[order], k[order], labels[order])
    torch.testing.assert_close(moved, value)
    for got, want in zip(moved_grads, grads, strict=True):
        torch.testing.assert_close(got, want[order])


@pytest.mark.parametrize("name", REGULARIZERS)
def test_the_gradient_is_that_of_finite_differences(name):
    q, k, labels = batch()
    q, k, term = q[:6].requires_grad_(), k[:6].requires_grad_(), made(name)
    start = copy.deepcopy(term)  # what a term counts must not differ between two calls
    assert torch.autograd.gradcheck(lambda a, b: copy.deepcopy(start).over_encoded(sides_of(a, b, labels[:6])), (q, k))


@pytest.mark.parametrize("name", REGULARIZERS)
def test_copies_and_pickles_are_the_same_term(name):
    term = made(name)
    others = [copy.deepcopy(term), pickle.loads(pickle.dumps(term))]
    want, _ = value_and_grads(name, *batch(), term)
    for other in others:
        assert torch.equal(value_and_grads(name, *batch(), other)[0], want)


@pytest.mark.parametrize("name", REGULARIZERS)
def test_a_single_item_is_refused(name):
    with pytest.raises(DegenerateBatchError, match="batch_size"):
        value_and_grads(name, *(x[:1] for x in batch()))


def gradients(name, cached, autocast=False):
    encoder = Telling(seed=3, dropout=0.3)
    objective = Objective(Labels(), torch.nn.Identity(), [made(name, torch.float32, 8)], [0.5])
    torch.manual_seed(11)
    batch = objective.views([{**row, "label": i % 4} for i, row in enumerate(Sentences(14))])
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        done = backward(encoder, encoder, objective, batch, 4, cached=cached)
    return done.loss, [p.grad for p in (*encoder.parameters(), *objective.parameters()) if p.grad is not None]


@pytest.mark.parametrize("name", REGULARIZERS)
def test_cached_equals_plain(name):
    ours, theirs = gradients(name, True), gradients(name, False)
    assert torch.equal(ours[0], theirs[0]) and len(ours[1]) == len(theirs[1]) > 0
    whole = max(float(g.norm()) for g in theirs[1])
    assert whole > 0
    for a, b in zip(ours[1], theirs[1], strict=True):
        assert float((a - b).norm()) <= 1e-6 * whole


@pytest.mark.parametrize("name", REGULARIZERS)
def test_autocast_leaves_the_statistics_alone(name):
    loss, _ = gradients(name, cached=False, autocast=True)
    assert loss.dtype == torch.float32
