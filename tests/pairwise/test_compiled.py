"""The fused backend: the same numbers as the eager one, code of its own per loss, and a way out where it cannot compile."""

import functools
import sys
import warnings

import pytest
import torch

from dipole import Pairs
from dipole.losses import SigLIP
from dipole.pairwise import Count, LogMeanExp, LogSumExp, Mean, Sum, reduce, using
from dipole.pairwise.scores.neg_squared_distance import NegSquaredDistance
from tests.catalogue import LOSSES, PAIRS, loss_of, pairs_for
from tests.catalogue.case import skip_exempt

compiled_module = sys.modules["dipole.pairwise.compiled"]
N, D = 192, 8


_exempt = pytest.fixture(autouse=True)(skip_exempt)


@pytest.fixture(autouse=True)
def several_tiles(monkeypatch):
    """Tiles of 96 x 96 with a ragged last one for N = 250."""
    plan_module = sys.modules["dipole.pairwise.plan"]
    monkeypatch.setitem(plan_module._ENOUGH, "cpu", 96 * 96)


def both(make):
    out = []
    for backend in ("eager", "compiled"):
        with using(backend, tile_side=96):
            out.append(make())
    return out


# Inductor takes seconds a loss, so it compiles these; the others go through the same tracing, differentiation and guards,
# and run the traced graph as it is. One of each kind of tile function:
INDUCTOR = {
    "infonce, two-sided": "rows and columns of one exponential",
    "supcon": "a mask looked up outside, two terms",
    "supcon, graded": "weights looked up outside, three terms",
    "siglip": "learned parameters, no exponential sum",
    "dcl": "a temperature that is a parameter",
    "per_positive": "values of an earlier pass, with their gradient",
    "distilled": "a second channel of scores",
    "align_uniform": "a score with rank-one terms, a total",
}


def test_losses_for_inductor_exist():
    assert set(INDUCTOR) <= set(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_compiled_equals_eager(name, monkeypatch):
    monkeypatch.setattr(compiled_module, "_kernels", {})
    if name not in INDUCTOR:
        monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    gen = torch.Generator().manual_seed(0)
    q0, k0 = (torch.randn(N, D, generator=gen, dtype=torch.float64) for _ in range(2))
    labels = torch.randint(0, 20, (N,), generator=gen)

    def run():
        q, k = q0.clone().requires_grad_(), k0.clone().requires_grad_()
        loss = loss_of(name)
        loss = loss.double() if isinstance(loss, torch.nn.Module) else loss
        values = loss(pairs_for(name, q, k, labels))
        learned = list(loss.parameters()) if isinstance(loss, torch.nn.Module) else []
        return values.detach(), torch.autograd.grad(values.sum(), [q, *([] if PAIRS[LOSSES[name].pairs].one_sided else [k]), *learned])

    before = compiled_module.runs
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (want, want_grads), (got, got_grads) = both(run)
    assert compiled_module.runs > before and compiled_module._kernels, "nothing was compiled, so nothing was compared"
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-11)
    for g, w in zip(got_grads, want_grads, strict=True):
        torch.testing.assert_close(g, w, rtol=1e-8, atol=1e-10)
    kernels = len(compiled_module._kernels)
    both(run)
    assert len(compiled_module._kernels) == kernels, "the same loss at the same shape was compiled again"


def test_every_fusible_reduction_and_a_ragged_edge():
    torch.manual_seed(0)
    q, k = torch.randn(250, 4, dtype=torch.float64, requires_grad=True), torch.randn(250, 4, dtype=torch.float64, requires_grad=True)
    pairs = Pairs.aligned(q, k, score=NegSquaredDistance())
    wanted = {
        f"{kind.__name__}_{axis}": kind(axis) for kind in (LogSumExp, Sum, Mean, Count, LogMeanExp) for axis in ("rows", "cols", "total")
    }

    def run(backend):
        stats = vars(reduce(lambda t: t.scores.tanh() * t.weight + t.scores, pairs, backend=backend, **wanted))
        total = sum(v.sum() * (i + 1) for i, v in enumerate(stats.values()) if v.requires_grad)
        return stats, torch.autograd.grad(total, [q, k])

    (want, want_grads), (got, got_grads) = run("dense"), run("compiled")
    for name in wanted:
        torch.testing.assert_close(got[name], want[name], msg=lambda m, name=name: f"{name}: {m}")
    torch.testing.assert_close(got_grads, want_grads)


def test_a_changed_parameter_is_not_a_stale_kernel():
    torch.manual_seed(0)
    q = torch.randn(N, D)
    for temperature in (0.5, 0.7):
        got = reduce(lambda t, s=temperature: t.scores / s, Pairs.aligned(q, q), backend="compiled", z=LogSumExp("rows")).z
        torch.testing.assert_close(got, (q @ q.T / temperature).logsumexp(1))


def test_what_cannot_be_compiled_runs_eagerly_and_says_so(monkeypatch):
    def refuse(*args, **kwargs):
        raise RuntimeError("no compiler on this machine")

    monkeypatch.setattr(torch, "compile", refuse)
    monkeypatch.setattr(compiled_module, "_kernels", {})
    monkeypatch.setattr(compiled_module, "_refused", set())
    monkeypatch.setattr(compiled_module, "_worked", set())
    torch.manual_seed(0)
    q = torch.randn(N, D, requires_grad=True)
    with pytest.warns(UserWarning, match="not compiled .no compiler on this machine.; it runs eagerly"):
        got = reduce(lambda t: t.scores.sin(), Pairs.aligned(q, q), backend="compiled", z=Sum("rows")).z
        got.sum().backward()
    torch.testing.assert_close(got, (q @ q.T).sin().sum(1), rtol=1e-4, atol=1e-4)
    assert q.grad is not None


def test_learned_parameters_get_their_gradient():
    torch.manual_seed(0)
    q, k = torch.randn(N, D), torch.randn(N, D)
    loss = SigLIP(temperature=0.5, bias=-1.0)
    loss(Pairs.aligned(q, k)).mean().backward()
    logits = q @ k.T * 2 - 1
    want = (torch.sigmoid(logits) - torch.eye(N)).sum() / N
    torch.testing.assert_close(loss.offset.grad, want, rtol=1e-4, atol=1e-5)
