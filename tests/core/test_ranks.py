"""N processes against one: the averaged gradient of a gathered (or ring) batch is the one-process gradient."""

import gc
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist

from dipole import Pairs
from dipole.core import ranks
from dipole.core.encoded import Encoded
from dipole.core.relations import Diagonal
from dipole.pairwise import Count, Histogram, LogMeanExp, LogSumExp, Max, Mean, Sum, TopK, reduce, using
from dipole.train.cache import cached_backward
from tests.catalogue import LOSSES, PAIRS, loss_of, pairs_for, ring_pairs_for
from tests.catalogue.case import skip_exempt
from tests.held import Held
from tests.processes import on_ranks

_exempt = pytest.fixture(autouse=True)(skip_exempt)

LENGTHS = {2: [5, 8], 4: [3, 6, 1, 4]}  # uneven on purpose
DIM = 6


def data(world):
    """The global batch: items, labels, and a ragged number of hard negatives a row."""
    gen = torch.Generator().manual_seed(world)
    n = sum(LENGTHS[world])
    queries, keys = (torch.randn(n, DIM, generator=gen, dtype=torch.float64) for _ in range(2))
    labels = torch.randint(0, 4, (n,), generator=gen)
    owner = torch.tensor([0, 0, 2, 5, n - 1, 7])
    return queries, keys, labels, torch.randn(len(owner), DIM, generator=gen, dtype=torch.float64), owner


def encoder():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(DIM, 7), torch.nn.Tanh(), torch.nn.Linear(7, 5)).double()


def one_process(name, world, negatives):
    queries, keys, labels, hard, owner = data(world)
    model, loss = encoder(), wide(loss_of(name))
    extra = (model(hard), owner) if negatives else ()
    values = loss(pairs_for(name, model(queries), model(keys), labels, *extra))
    values.mean().backward()
    return values.detach(), gradients(model, loss)


def wide(loss):
    return loss.double() if isinstance(loss, torch.nn.Module) else loss


def gradients(model, loss):
    learned = list(loss.parameters()) if isinstance(loss, torch.nn.Module) else []
    return [p.grad for p in (*model.parameters(), *learned)]


def cached_values(model, loss, name, queries, keys, labels, share):
    """The gathered loss by gradient caching in micro batches of two; the rank's own values, detached."""
    kept = []

    def loss_of(sides):
        vectors, meta, local = ranks.gather_sides({n: e.pooled for n, e in sides.items()}, {"queries.label": labels})
        pairs = pairs_for(name, vectors["queries"], vectors["keys"], meta["queries.label"])
        values = loss(replace(pairs, local=(local, local)))
        kept.append(values.detach())
        return values.sum() * share

    cached_backward(lambda x: Encoded(model(x["x"])), {"queries": {"x": queries}, "keys": {"x": keys}}, loss_of, 2)
    return kept[0]


WANTED = {
    **{
        f"{kind.__name__}_{axis}": kind(axis)
        for kind in (LogSumExp, Sum, Mean, Max, Count, LogMeanExp)
        for axis in ("rows", "cols", "total")
    },
    "top_rows": TopK("rows", k=3),
    "top_cols": TopK("cols", k=2),
    "bins": Histogram("total", low=-3, high=3, bins=7),
}


def ring_statistics(queries, keys, ring, n):
    """Every reduction, of rounded scores with many ties, and a gradient through those that have one."""
    q, k = queries.clone().requires_grad_(), keys.clone().requires_grad_()
    pairs = Pairs(q, k, Diagonal(0, n), ring=ring) if ring else Pairs.aligned(q, k)
    with using("eager", tile_side=3):
        stats = vars(reduce(lambda t: t.scores + t.positive, pairs, **WANTED))
    total = sum(v.sum() * (i + 1) for i, v in enumerate(stats.values()) if torch.is_tensor(v) and v.requires_grad)
    total = total + stats["top_rows"].values.sum() - stats["top_cols"].values.sum()
    return {name: v.detach() if torch.is_tensor(v) else tuple(x.detach() for x in v) for name, v in stats.items()}, total, (q, k)


def ring_memory(rank, world, local):
    """Peak bytes held at once by a loss over ``local`` rows a rank, backward included."""
    starts = tuple(local * r for r in range(world + 1))
    gen = torch.Generator().manual_seed(rank)
    q, k = (torch.randn(local, 64, generator=gen).requires_grad_() for _ in range(2))
    pairs = Pairs(q, k, Diagonal(0, local * world), ring=ranks.Ring(rank, starts, starts))
    loss = loss_of("infonce, two-sided")
    with using("eager", tile_side=32):
        loss(pairs)
        gc.collect()
        with Held() as held:
            loss(pairs).sum().backward()
    return held.peak


def work(rank, world):
    starts = [0]
    for n in LENGTHS[world]:
        starts.append(starts[-1] + n)
    mine = slice(starts[rank], starts[rank + 1])
    total = starts[-1]
    queries, keys, labels, hard, owner = data(world)
    own = (owner >= mine.start) & (owner < mine.stop)
    out = {}

    def finish(key, model, loss, values):
        if values.requires_grad:  # cached_backward has been backward already
            (values.sum() * world / total).backward()
        grads = gradients(model, loss)
        for g in grads:
            dist.all_reduce(g)
            g /= world
        out[key] = (values.detach(), grads)

    for name in LOSSES:
        for negatives in (False, True):
            model, loss = encoder(), wide(loss_of(name))
            sides = {"queries": model(queries[mine]), "keys": model(keys[mine])}
            meta = {"queries.label": labels[mine]}
            if negatives:
                sides["negatives"] = model(hard[own])
                meta["negatives.owner"] = owner[own] - mine.start
            sides, meta, local = ranks.gather_sides(sides, meta)
            extra = (sides["negatives"], meta["negatives.owner"]) if negatives else ()
            pairs = pairs_for(name, sides["queries"], sides["keys"], meta["queries.label"], *extra)
            finish((name, "gather", negatives), model, loss, loss(replace(pairs, local=(local, local))))
        model, loss = encoder(), wide(loss_of(name))
        finish(
            (name, "cached", False), model, loss, cached_values(model, loss, name, queries[mine], keys[mine], labels[mine], world / total)
        )
        if PAIRS[LOSSES[name].pairs].ring is None:
            continue
        if PAIRS[LOSSES[name].pairs].ring is None:
            continue
        model, loss = encoder(), wide(loss_of(name))
        ring = ranks.Ring(rank, tuple(starts), tuple(starts))
        finish((name, "ring", False), model, loss, loss(ring_pairs_for(name, model(queries[mine]), model(keys[mine]), labels, ring)))

    whole = torch.randint(-2, 3, (total, 3), generator=torch.Generator().manual_seed(0)).double()
    stats, sums, (q, k) = ring_statistics(whole[mine], whole.flip(0)[mine], ranks.Ring(rank, tuple(starts), tuple(starts)), total)
    sums.backward()
    out["statistics"] = (stats, q.grad, k.grad)
    out["memory"] = ring_memory(rank, world, 96)

    # masks and half precision travel too
    tokens = batch_of_tokens(LENGTHS[world][rank], rank)[:, : 2 + (rank == 0)]  # rank 0 pads to a longer text
    (tokens_all, mask_all), got_meta, _ = (
        (s["t"], m, at) for s, m, at in [ranks.gather_sides({"t": (tokens, tokens[..., 0] > 3)}, {"x.weight": tokens[:, 0, 0].double()})]
    ).__next__()
    # a side that one rank does not have
    some = {"queries": queries[mine]} | ({"negatives": hard[:2] * rank} if rank else {})
    shared, notes, at = ranks.gather_sides(some, {"negatives.owner": torch.tensor([0, 1])} if rank else {})
    out["some"] = (shared["negatives"], notes["negatives.owner"], at)
    out["tokens"] = (tokens_all, mask_all, got_meta["x.weight"])
    return out, mine


@pytest.fixture(scope="module", params=[2, 4])
def outcome(request, tmp_path_factory):
    return request.param, on_ranks(work, request.param, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(("way", "negatives"), [("gather", False), ("gather", True), ("cached", False), ("ring", False)])
def test_ranks_equal_one_process(outcome, name, way, negatives):
    world, by_rank = outcome
    if way == "ring" and PAIRS[LOSSES[name].pairs].ring is None:
        pytest.skip("such pairs are not made on a ring; the loss says so")
    if way == "ring" and PAIRS[LOSSES[name].pairs].ring is None:
        pytest.skip("its pairs have further columns, which a ring does not hold")
    values, grads = one_process(name, world, negatives)
    for out, mine in by_rank:
        got_values, got_grads = out[name, way, negatives]
        torch.testing.assert_close(got_values, values[mine], rtol=1e-10, atol=1e-12)
        for got, want in zip(got_grads, grads, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-8, atol=1e-10)


def test_a_ring_gives_every_reduction_of_the_whole(outcome):
    world, by_rank = outcome
    total = sum(LENGTHS[world])
    whole = torch.randint(-2, 3, (total, 3), generator=torch.Generator().manual_seed(0)).double()
    want, _, _ = ring_statistics(whole, whole.flip(0), None, total)
    for out, mine in by_rank:
        got = out["statistics"][0]
        for name, reduction in WANTED.items():
            own = (
                want[name]
                if reduction.axis == "total"
                else tuple(x[mine] for x in want[name])
                if name.startswith("top")
                else want[name][mine]
            )
            torch.testing.assert_close(got[name], own, msg=lambda m, name=name: f"{name}: {m}")


def test_the_gradient_of_ring_statistics_is_that_of_the_ranks_sum(outcome):
    """Each rank differentiates its own statistics; what comes home is the gradient of the sum over ranks."""
    world, by_rank = outcome
    total = sum(LENGTHS[world])
    whole = torch.randint(-2, 3, (total, 3), generator=torch.Generator().manual_seed(0)).double()
    _, _, (q, k) = run = ring_statistics(whole, whole.flip(0), None, total)
    stats = vars(reduce(lambda t: t.scores + t.positive, Pairs.aligned(q, k), **WANTED))
    objective = sum(
        v.sum() * (i + 1) * (world if WANTED[name].axis == "total" else 1)
        for i, (name, v) in enumerate(stats.items())
        if torch.is_tensor(v) and v.requires_grad
    )
    objective = objective + stats["top_rows"].values.sum() - stats["top_cols"].values.sum()
    grads = torch.autograd.grad(objective, [q, k])
    assert run is not None
    for which, want in enumerate(grads):
        torch.testing.assert_close(torch.cat([out["statistics"][1 + which] for out, _ in by_rank]), want)


def test_a_rings_memory_is_that_of_its_own_batch(outcome):
    """Twelve times the rank's own keys at most, whatever the number of ranks; keys of all of 4 ranks would be 4 more."""
    _, by_rank = outcome
    vectors = 96 * 64 * 4
    assert 4 * vectors < max(out["memory"] for out, _ in by_rank) < 12 * vectors


def batch_of_tokens(n, rank):
    """(n, 3, 2), the third token nothing but padding."""
    tokens = torch.arange(float(n * 6)).reshape(n, 3, 2).bfloat16() + 100 * rank
    tokens[:, 2] = 0
    return tokens


def test_masks_and_half_precision_arrive_whole(outcome):
    world, by_rank = outcome
    parts = [batch_of_tokens(n, r) for r, n in enumerate(LENGTHS[world])]
    for out, _ in by_rank:
        got_tokens, got_mask, weight = out["tokens"]
        assert got_tokens.dtype == torch.bfloat16 and torch.equal(got_tokens, torch.cat(parts))
        assert got_mask.dtype == torch.bool and torch.equal(got_mask, torch.cat(parts)[..., 0] > 3)
        assert torch.equal(weight, torch.cat(parts)[:, 0, 0].double())


def test_a_rank_without_hard_negatives_is_no_trouble(outcome):
    world, by_rank = outcome
    hard = data(world)[3]
    starts = [sum(LENGTHS[world][:r]) for r in range(world)]
    for out, mine in by_rank:
        negatives, owner, at = out["some"]
        assert torch.equal(negatives, torch.cat([hard[:2] * r for r in range(1, world)]))
        assert owner.tolist() == [s + i for s in starts[1:] for i in (0, 1)]
        assert at == mine


def test_one_process_is_left_alone():
    sides, meta, local = ranks.gather_sides({"queries": torch.ones(2, 3)}, {"queries.owner": torch.tensor([0, 1])})
    assert local is None and torch.equal(sides["queries"], torch.ones(2, 3)) and meta["queries.owner"].tolist() == [0, 1]
