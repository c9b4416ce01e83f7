"""The streamed engine against the whole matrix: values and gradients, in float64, for shapes chosen to hurt."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dipole import Pairs
from dipole.core.pairs import Pairs as PairsType
from dipole.pairwise import Channel, Count, Histogram, LogMeanExp, LogSumExp, Max, Mean, Sum, TopK, reduce
from dipole.pairwise.dense import dense
from dipole.pairwise.eager import eager
from dipole.pairwise.plan import Plan
from dipole.pairwise.problem import build
from dipole.pairwise.scores.bilinear import Bilinear
from dipole.pairwise.scores.cosine import Cosine
from dipole.pairwise.scores.distance_power import DistancePower
from dipole.pairwise.scores.gated_cosine import GatedCosine
from dipole.pairwise.scores.gaussian import Gaussian
from dipole.pairwise.scores.kernel_mixture import KernelMixture
from dipole.pairwise.scores.max_sim import MaxSim
from dipole.pairwise.scores.neg_squared_distance import NegSquaredDistance
from dipole.pairwise.scores.pair_function import PairFunction
from dipole.pairwise.scores.polynomial import Polynomial
from dipole.pairwise.scores.relu_cosine import ReluCosine
from dipole.pairwise.scores.same_class import SameClass
from dipole.pairwise.scores.scaled_cosine import ScaledCosine
from dipole.pairwise.scores.soft_interaction import SoftInteraction

TIGHT = {"rtol": 1e-9, "atol": 1e-11}


def compare(fn, pairs, wanted, leaves, tile, params=None, channels=None):
    """Values and gradients of both backends on the same problem, tile sides forced to ``tile``."""
    outcomes = []
    for backend in (dense, eager):
        problem, tensors = build(fn, pairs, wanted, params or {}, channels or {})
        extra = () if backend is dense else (Plan(*tile, 0),)
        results = backend(problem, tensors, *extra)
        flat = {}
        for name, value in results.items():
            flat |= {f"{name}.{i}": v for i, v in enumerate(value)} if isinstance(value, tuple) else {name: value}
        torch.manual_seed(0)
        total = sum(
            (torch.where(v.isinf(), 0.0, v) * torch.randn(v.shape, dtype=v.dtype)).sum()
            for v in flat.values()
            if v.is_floating_point() and v.requires_grad
        )
        grads = torch.autograd.grad(total, leaves, allow_unused=True) if isinstance(total, torch.Tensor) else [None] * len(leaves)
        outcomes.append((flat, grads))
    (want, want_grads), (got, got_grads) = outcomes
    assert want.keys() == got.keys()
    for name in want:
        torch.testing.assert_close(got[name], want[name], **TIGHT, msg=lambda m, name=name: f"{name}: {m}")
    for w, g in zip(want_grads, got_grads, strict=True):
        w, g = (torch.zeros(1) if x is None else x for x in (w, g))
        torch.testing.assert_close(g, w.expand_as(g) if w.numel() == 1 else w, **TIGHT)


def relations(kind, q, k, gen):
    """Pairs of one kind over given vectors."""
    n, m = len(q), len(k)
    if kind == "aligned":
        ids = torch.randint(0, max(2, n // 2), (min(n, m),), generator=gen)
        return Pairs.aligned(q[: min(n, m)], k, query_ids=ids, key_ids=ids.flip(0))
    if kind == "labelled":  # some labels stand alone: rows without a positive
        return Pairs.labelled(q, torch.randint(-1, max(1, n // 2), (n,), generator=gen))
    if kind == "grouped":
        return Pairs.grouped(q, k, torch.randint(0, 4, (n,), generator=gen), torch.randint(0, 4, (m,), generator=gen))
    if kind == "weighted":
        at = torch.randperm(n * m, generator=gen)[: max(1, n * m // 3)]
        return Pairs.weighted(q, k, at // m, at % m, torch.rand(len(at), generator=gen, dtype=q.dtype))
    owner = torch.randint(-1, min(n, m), (3,), generator=gen)
    more = torch.randn(3, q.shape[1], generator=gen, dtype=q.dtype)
    return Pairs.aligned(q[: min(n, m)], k).with_negatives(more, owner)


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(1, 13),
    m=st.integers(1, 13),
    tile=st.tuples(st.integers(1, 14), st.integers(1, 14)),
    temperature=st.sampled_from([0.001, 0.07, 1.0, 10.0]),
    kind=st.sampled_from(["aligned", "labelled", "grouped", "weighted", "owned"]),
    seed=st.integers(0, 10**6),
)
def test_every_reduction_equals_the_dense_one(n, m, tile, temperature, kind, seed):
    gen = torch.Generator().manual_seed(seed)
    q = torch.randn(n, 5, generator=gen, dtype=torch.float64).requires_grad_()
    k = torch.randn(m, 5, generator=gen, dtype=torch.float64).requires_grad_()
    t = torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
    pairs = relations(kind, q, k, gen)

    def terms(tile):
        logits = tile.scores / tile.params["t"]
        return {
            "all": logits,
            "negatives": tile.fill_positive(logits, -math.inf),
            "graded": torch.sigmoid(logits) * tile.weight,
            "near": tile.scores > 0.3,
        }

    wanted = {}
    for axis in ("rows", "cols", "total"):
        wanted |= {
            f"lse_{axis}": LogSumExp(axis, of="all"),
            f"neg_{axis}": LogSumExp(axis, of="negatives"),
            f"sum_{axis}": Sum(axis, of="graded"),
            f"mean_{axis}": Mean(axis, of="all"),
            f"max_{axis}": Max(axis, of="all"),
            f"count_{axis}": Count(axis, of="near"),
            f"lme_{axis}": LogMeanExp(axis, of="all"),
        }
    wanted |= {"top_rows": TopK("rows", of="all", k=3), "top_cols": TopK("cols", of="all", k=2)}
    compare(terms, pairs, wanted, [q, k, t], tile, {"t": t})


SCORES = {
    "cosine": Cosine(),
    "scaled_cosine": ScaledCosine(initial_temperature=0.3).double(),
    "neg_squared_distance": NegSquaredDistance(),
    "gaussian": Gaussian(sharpness=0.3),
    "distance_power": DistancePower(power=1.3),
    "kernel_mixture": KernelMixture(powers=(1.0, 2.0, 0.7), shares=(0.5, 0.2, 0.3), temperature=0.8),
    "polynomial": Polynomial(degree=3, shift=0.5),
    "relu_cosine": ReluCosine(),
    "same_class": SameClass(),
    "bilinear": Bilinear(query_dim=4, key_dim=4).double(),
}


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("tile", [(3, 4), (1, 1), (7, 2), (100, 100)])
def test_scores_of_vectors(name, tile):
    torch.manual_seed(1)
    q, k = (torch.randn(n, 4, dtype=torch.float64, requires_grad=True) for n in (7, 9))
    score = SCORES[name]
    learned = list(score.parameters()) if isinstance(score, torch.nn.Module) else []
    pairs = Pairs.aligned(q, k, score=score)
    compare(lambda t: t.scores * 2, pairs, {"a": LogSumExp("rows"), "b": Sum("cols"), "c": Max("total")}, [q, k, *learned], tile)


def closed_forms(q, k):
    dot = q @ k.T
    squared = torch.cdist(q, k).square()
    cosine = dot / q.norm(dim=1)[:, None] / k.norm(dim=1)[None, :]
    return {
        "cosine": cosine,
        "scaled_cosine": cosine / 0.3,
        "neg_squared_distance": -squared,
        "gaussian": (-0.3 * squared).exp(),
        "kernel_mixture": sum(w * (-squared.pow(p / 2) / 0.8).exp() for w, p in ((0.5, 1), (0.2, 2), (0.3, 0.7))).log(),
        "distance_power": -torch.cdist(q, k).pow(1.3),
        "polynomial": (dot + 0.5).pow(3),
        "relu_cosine": torch.cosine_similarity(q.relu()[:, None], k.relu()[None], dim=2),
        "same_class": q.softmax(1) @ k.softmax(1).T,
        "bilinear": dot,
    }


@pytest.mark.parametrize("name", SCORES)
def test_scores_are_what_their_formula_says(name):
    torch.manual_seed(2)
    q, k = torch.randn(5, 4, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    pairs = Pairs.aligned(q, k, score=SCORES[name])
    whole = torch.stack([reduce(lambda t, j=j: t.scores * (t.col_index == j), pairs, s=Sum("rows")).s for j in range(5)], dim=1)
    torch.testing.assert_close(whole.detach(), closed_forms(q, k)[name], rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(pairs.positive_scores().detach(), closed_forms(q, k)[name].diagonal(), rtol=1e-6, atol=1e-7)


def tokens(n, length, seed):
    gen = torch.Generator().manual_seed(seed)
    values = torch.randn(n, length, 3, generator=gen, dtype=torch.float64)
    mask = torch.rand(n, length, generator=gen) > 0.3
    mask[0] = False  # an item without tokens
    return values.requires_grad_(), mask


@pytest.mark.parametrize("score", [MaxSim(), MaxSim(mean=True), SoftInteraction(temperature=0.5)], ids=repr)
def test_token_scores(score):
    (qt, qm), (kt, km) = tokens(6, 4, 0), tokens(8, 5, 1)
    pairs = Pairs.aligned((qt, qm), (kt, km), score=score)
    compare(lambda t: t.scores / 0.5, pairs, {"a": LogSumExp("rows"), "b": LogSumExp("cols"), "c": Sum("total")}, [qt, kt], (4, 3))
    # an explicit double loop
    for i, j in ((1, 1), (2, 5), (0, 3), (4, 0)):
        sims = qt[i][qm[i]] @ kt[j][km[j]].T
        if sims.numel() == 0:
            want = torch.zeros((), dtype=torch.float64)
        elif isinstance(score, MaxSim):
            best = sims.max(1).values
            want = best.mean() if score.mean else best.sum()
        else:
            want = ((sims / 0.5).softmax(1) * sims).sum(1).mean()
        got = reduce(lambda t, i=i, j=j: t.scores * ((t.row_index == i) & (t.col_index == j)), pairs, s=Sum("total")).s
        torch.testing.assert_close(got, want)


def test_gated_cosine_equals_the_explicit_three_way_product():
    torch.manual_seed(3)
    q, g, k = (torch.randn(6, 4, dtype=torch.float64) for _ in range(3))
    g = g.abs().requires_grad_()
    q.requires_grad_(), k.requires_grad_()
    pairs = Pairs.aligned((q, g), k, score=GatedCosine())
    explicit = torch.cosine_similarity((g[:, None] * q[:, None]).expand(6, 6, 4), g[:, None] * k[None], dim=-1)
    got = reduce(lambda t: t.scores, pairs, backend="eager", rows=LogSumExp("rows")).rows
    torch.testing.assert_close(got, explicit.logsumexp(1))
    got_grads = torch.autograd.grad(got.sum(), [q, g, k], retain_graph=True)
    for a, b in zip(got_grads, torch.autograd.grad(explicit.logsumexp(1).sum(), [q, g, k]), strict=True):
        torch.testing.assert_close(a, b)


def test_any_function_of_two_blocks_is_a_score():
    torch.manual_seed(4)
    q, k = torch.randn(7, 3, dtype=torch.float64, requires_grad=True), torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    manhattan = PairFunction(lambda rows, cols: -(rows[0][:, None] - cols[0][None]).abs().sum(-1))
    pairs = Pairs.grouped(q, k, torch.arange(7) % 5, torch.arange(5), score=manhattan)
    compare(lambda t: t.scores, pairs, {"z": LogSumExp("rows"), "w": Sum("cols")}, [q, k], (3, 2))
    torch.testing.assert_close(reduce(lambda t: t.scores, pairs, s=Sum("total")).s, -torch.cdist(q, k, p=1).sum())


def test_teacher_channel_weights_the_student():
    torch.manual_seed(5)
    q, k, tq, tk = (torch.randn(9, 4, dtype=torch.float64) for _ in range(4))
    q.requires_grad_(), k.requires_grad_()
    pairs = Pairs.aligned(q, k)

    def distil(tile):
        return tile.channels["teacher"].exp() * tile.scores

    channels = {"teacher": Channel(tq, tk, Cosine())}
    compare(distil, pairs, {"r": Sum("rows"), "c": Sum("cols")}, [q, k], (4, 5), channels=channels)
    want = (torch.cosine_similarity(tq[:, None], tk[None], dim=-1).exp() * (q @ k.T)).sum(1)
    torch.testing.assert_close(reduce(distil, pairs, channels=channels, r=Sum("rows")).r, want)


@pytest.mark.parametrize("tile", [(3, 4), (20, 20), (1, 5)])
def test_segments_split_a_row_by_the_class_of_its_columns(tile):
    torch.manual_seed(6)
    q, k = torch.randn(8, 4, dtype=torch.float64, requires_grad=True), torch.randn(11, 4, dtype=torch.float64, requires_grad=True)
    pairs = Pairs.grouped(q, k, torch.arange(8) % 3, torch.arange(11) % 4)
    wanted = {f"{kind.__name__}_{axis}": kind(axis, by="label") for kind in (LogSumExp, Sum, Mean, Count) for axis in ("rows", "cols")}
    compare(lambda t: t.scores, pairs, wanted, [q, k], tile)
    by_class = reduce(lambda t: t.scores, pairs, backend="eager", z=LogSumExp("rows", by="label")).z
    want = torch.stack([(q @ k.T)[:, torch.arange(11) % 4 == c].logsumexp(1) for c in range(4)], dim=1)
    torch.testing.assert_close(by_class, want)


def test_differentiable_metadata_gets_its_gradient():
    torch.manual_seed(7)
    q, k = torch.randn(6, 3, dtype=torch.float64), torch.randn(8, 3, dtype=torch.float64)
    margin = torch.randn(6, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(8, dtype=torch.float64, requires_grad=True)
    pairs = PairsType(q, k, Pairs.aligned(q, k).positive, rows={"margin": margin}, cols={"weight": weight})
    compare(lambda t: (t.scores - t.rows["margin"]).relu() * t.cols["weight"], pairs, {"r": Sum("rows")}, [margin, weight], (4, 3))


@pytest.mark.parametrize("axis", ["rows", "cols", "total"])
def test_histogram(axis):
    torch.manual_seed(8)
    q, k = torch.randn(9, 4, dtype=torch.float64), torch.randn(7, 4, dtype=torch.float64)
    pairs = Pairs.grouped(q, k, torch.arange(9), torch.arange(7))
    compare(lambda t: t.scores, pairs, {"h": Histogram(axis, low=-2, high=2, bins=9)}, [], (4, 3))
    got = reduce(lambda t: t.scores, pairs, backend="eager", h=Histogram("total", low=-2, high=2, bins=9)).h
    assert got.tolist() == torch.histc(q @ k.T, 9, -2, 2).long().tolist()


def test_blocks_that_share_a_normaliser_add_up():
    """Four blocks with one row normaliser (q-d, q-q, d-q by column, d-d) against one explicit matrix."""
    torch.manual_seed(9)
    q, d = torch.randn(6, 4, dtype=torch.float64, requires_grad=True), torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    alone = torch.arange(6)
    cross = reduce(lambda t: t.scores, Pairs.aligned(q, d), backend="eager", r=LogSumExp("rows"), c=LogSumExp("cols"))
    same = [reduce(lambda t: t.scores, Pairs.labelled(x, alone), backend="eager", r=LogSumExp("rows")).r for x in (q, d)]
    streamed = torch.logaddexp(torch.logaddexp(cross.r, cross.c), torch.logaddexp(*same))
    eye = torch.eye(6, dtype=torch.bool)
    logits = torch.cat([q @ d.T, d @ q.T, (q @ q.T).masked_fill(eye, -math.inf), (d @ d.T).masked_fill(eye, -math.inf)], dim=1)
    torch.testing.assert_close(streamed, logits.logsumexp(1))
    for a, b in zip(torch.autograd.grad(streamed.sum(), [q, d]), torch.autograd.grad(logits.logsumexp(1).sum(), [q, d]), strict=True):
        torch.testing.assert_close(a, b)
