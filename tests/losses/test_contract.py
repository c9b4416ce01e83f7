"""One contract for every loss: what holds for all of them is tested for all of them."""

import copy
import pickle
import pkgutil

import pytest
import torch

import dipole.losses
from dipole.pairwise import using
from tests.catalogue import LOSSES, loss_of, pairs_for
from tests.catalogue.case import skip_exempt

_exempt = pytest.fixture(autouse=True)(skip_exempt)


def test_exemptions_name_tests_of_this_file_or_of_the_ranks():
    tests = {name for name in globals() if name.startswith("test_")} | {"test_ranks_equal_one_process", "test_compiled_equals_eager"}
    for name, case in LOSSES.items():
        assert set(case.exempt) <= tests, f"{name}: no such contract test"
        assert all(len(reason) > 20 for reason in case.exempt.values()), f"{name}: say why"


N, D = 160, 12  # 160 x 160 entries: streamed, not dense


def batch(dtype=torch.float32, n=N, seed=0):
    gen = torch.Generator().manual_seed(seed)
    q = torch.nn.functional.normalize(torch.randn(n, D, generator=gen, dtype=torch.float64), dim=1)
    k = torch.nn.functional.normalize(q + torch.randn(n, D, generator=gen, dtype=torch.float64), dim=1)
    labels = torch.randint(0, n // 4, (n,), generator=gen)
    return q.to(dtype), k.to(dtype), labels


def values_and_grads(name, q, k, labels, loss=None):
    q, k = q.clone().requires_grad_(), k.clone().requires_grad_()
    values = (loss or loss_of(name))(pairs_for(name, q, k, labels))
    grads = torch.autograd.grad(values.mean(), [q, k], allow_unused=True)
    return values.detach(), [torch.zeros_like(q) if g is None else g for g in grads]


def test_every_loss_is_in_the_catalogue():
    modules = [m.name for m in pkgutil.walk_packages(dipole.losses.__path__, "dipole.losses.") if not m.ispkg]
    covered = {type(loss_of(name)).__module__ for name in LOSSES}
    assert covered == set(modules)


@pytest.mark.parametrize("name", LOSSES)
def test_streamed_equals_dense(name, monkeypatch):
    import sys

    engine = sys.modules["dipole.pairwise.reduce"]
    q, k, labels = batch(torch.float64)
    streamed = values_and_grads(name, q, k, labels, wide(loss_of(name)))
    monkeypatch.setattr(engine, "TINY", N * N)
    whole = values_and_grads(name, q, k, labels, wide(loss_of(name)))
    torch.testing.assert_close(streamed[0], whole[0], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(streamed[1], whole[1], rtol=1e-9, atol=1e-12)


def wide(loss):
    return loss.double() if isinstance(loss, torch.nn.Module) else loss


@pytest.mark.parametrize("name", LOSSES)
def test_one_value_a_query(name):
    values, _ = values_and_grads(name, *batch())
    assert values.shape == (N,) and values.dtype == torch.float32 and bool(values.isfinite().all())


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_vectors_keep_float32_statistics(name):
    q, k, labels = batch()
    q, k = q.bfloat16(), k.bfloat16()
    values, grads = values_and_grads(name, q, k, labels)
    want, want_grads = values_and_grads(name, q.float(), k.float(), labels)
    assert values.dtype == torch.float32
    # the same bfloat16 numbers went in, so the statistics agree as float32 ones do; only gradients are rounded back
    torch.testing.assert_close(values, want, rtol=1e-5, atol=1e-5)
    for got, w in zip(grads, want_grads, strict=True):
        assert got.dtype == torch.bfloat16
        # two shares (attraction, repulsion) are each rounded to bfloat16, 1/256 of its own size, before they are added
        assert (got.float() - w).norm() <= w.norm() / 64


@pytest.mark.parametrize("name", LOSSES)
def test_the_order_of_rows_does_not_matter(name):
    q, k, labels = batch(torch.float64)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(1))
    values, grads = values_and_grads(name, q, k, labels, wide(loss_of(name)))
    moved, moved_grads = values_and_grads(name, q[order], k[order], labels[order], wide(loss_of(name)))
    torch.testing.assert_close(moved, values[order])
    for a, b in zip(moved_grads, grads, strict=True):
        torch.testing.assert_close(a, b[order])


@pytest.mark.parametrize("name", LOSSES)
def test_a_frozen_side_costs_no_gradient_and_changes_none(name):
    q, k, labels = batch(torch.float64)
    _, (want, _) = values_and_grads(name, q, k, labels, wide(loss_of(name)))
    live = q.clone().requires_grad_()
    wide(loss_of(name))(pairs_for(name, live, k, labels)).mean().backward()
    torch.testing.assert_close(live.grad, want)


@pytest.mark.parametrize("name", LOSSES)
def test_copies_and_pickles_are_the_same_loss(name):
    loss = loss_of(name)
    others = copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))  # before it draws: a copy goes on from where it was made
    want, _ = values_and_grads(name, *batch(), loss)
    for other in others:
        assert torch.equal(values_and_grads(name, *batch(), other)[0], want)


@pytest.mark.parametrize("name", LOSSES)
def test_autocast_leaves_the_statistics_alone(name):
    want, want_grads = values_and_grads(name, *batch())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got, grads = values_and_grads(name, *batch())
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(grads, want_grads, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", [name for name, case in LOSSES.items() if case.extreme])
@pytest.mark.parametrize("temperature", [1e-3, 10.0])
def test_extreme_temperatures_are_as_right_as_others(name, temperature):
    changed = LOSSES[name].extreme(temperature)
    make = lambda: type(loss_of(name))(**changed)  # noqa: E731
    q, k, labels = batch()
    values, grads = values_and_grads(name, q, k, labels, make())
    with using("dense"):
        want, want_grads = values_and_grads(name, q.double(), k.double(), labels, wide(make()))
    torch.testing.assert_close(values.double(), want, rtol=1e-4, atol=1e-3)
    for got, w in zip(grads, want_grads, strict=True):
        assert (got.double() - w).norm() <= 1e-3 * w.norm()
