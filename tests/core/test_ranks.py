"""N processes against one: the averaged gradient of a gathered (or ring) batch is the one-process gradient."""

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from dipole.core import ranks
from tests.catalogue import LOSSES, pairs_for, ring_pairs_for

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
    model, loss = encoder(), wide(LOSSES[name]())
    extra = (model(hard), owner) if negatives else ()
    values = loss(pairs_for(name, model(queries), model(keys), labels, *extra))
    values.mean().backward()
    return values.detach(), gradients(model, loss)


def wide(loss):
    return loss.double() if isinstance(loss, torch.nn.Module) else loss


def gradients(model, loss):
    learned = list(loss.parameters()) if isinstance(loss, torch.nn.Module) else []
    return [p.grad for p in (*model.parameters(), *learned)]


def worker(rank, world, port, folder):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=world)
    starts = [0]
    for n in LENGTHS[world]:
        starts.append(starts[-1] + n)
    mine = slice(starts[rank], starts[rank + 1])
    total = starts[-1]
    queries, keys, labels, hard, owner = data(world)
    own = (owner >= mine.start) & (owner < mine.stop)
    out = {}

    def finish(key, model, loss, values):
        (values.sum() * world / total).backward()
        grads = gradients(model, loss)
        for g in grads:
            dist.all_reduce(g)
            g /= world
        out[key] = (values.detach(), grads)

    for name in LOSSES:
        for negatives in (False, True):
            model, loss = encoder(), wide(LOSSES[name]())
            sides = {"queries": model(queries[mine]), "keys": model(keys[mine])}
            meta = {"queries.label": labels[mine]}
            if negatives:
                sides["negatives"] = model(hard[own])
                meta["negatives.owner"] = owner[own] - mine.start
            sides, meta, local = ranks.gather_sides(sides, meta)
            extra = (sides["negatives"], meta["negatives.owner"]) if negatives else ()
            pairs = pairs_for(name, sides["queries"], sides["keys"], meta["queries.label"], *extra)
            finish((name, "gather", negatives), model, loss, loss(replace(pairs, local=(local, local))))
        model, loss = encoder(), wide(LOSSES[name]())
        ring = ranks.Ring(rank, tuple(starts), tuple(starts))
        finish((name, "ring", False), model, loss, loss(ring_pairs_for(name, model(queries[mine]), model(keys[mine]), labels, ring)))

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
    torch.save((out, mine), Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module", params=[2, 4])
def outcome(request, tmp_path_factory):
    world, folder = request.param, tmp_path_factory.mktemp("ranks")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    mp.spawn(worker, (world, port, str(folder)), nprocs=world)
    return world, [torch.load(folder / f"{r}.pt", weights_only=False) for r in range(world)]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(("way", "negatives"), [("gather", False), ("gather", True), ("ring", False)])
def test_ranks_equal_one_process(outcome, name, way, negatives):
    world, by_rank = outcome
    values, grads = one_process(name, world, negatives)
    for out, mine in by_rank:
        got_values, got_grads = out[name, way, negatives]
        torch.testing.assert_close(got_values, values[mine], rtol=1e-10, atol=1e-12)
        for got, want in zip(got_grads, grads, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-8, atol=1e-10)


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
