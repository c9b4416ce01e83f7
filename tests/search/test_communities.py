"""Communities of rows: planted cliques, the rules of the graph by a loop, and training on batches made of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from dipole import Pairs
from dipole.cli.main import main
from dipole.core.errors import DataError, ParameterError
from dipole.losses import InfoNCE
from dipole.rows.open import open_rows
from dipole.search.communities import Communities
from dipole.train.batches import Plan


def unit(n: int, d: int = 6, seed: int = 0) -> torch.Tensor:
    return normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=1)


def planted(cliques: int, size: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows near the centre of their clique, shuffled, and which clique each is of."""
    of = torch.arange(cliques).repeat_interleave(size)[torch.randperm(cliques * size, generator=torch.Generator().manual_seed(seed))]
    return normalize(torch.eye(cliques)[of] + 0.1 * unit(len(of), cliques, seed), dim=1), of


def test_planted_cliques_are_found_and_batches_hold_whole_ones() -> None:
    x, of = planted(12, 5)
    found = Communities(size=5, depth=4, skip=0)(x, x, [[i] for i in range(60)])
    for clique in range(12):
        assert len(found.of[of == clique].unique()) == 1
    assert len(found.of.unique()) == 12 and found.kept == 1 and found.links == 12 * 10
    assert "60 rows in 12 communities, the largest of 5, 0 rows alone; 120 links, 100.0%" in found.text
    plan = Plan((60,), 10, seed=3, groups=found.of)
    for step in range(12):
        assert torch.bincount(of[plan.batch(step)], minlength=12).unique().tolist() == [0, 5]


@pytest.mark.parametrize(("depth", "skip"), [(4, 0), (6, 3), (50, 10)])
def test_the_links_are_a_loops(depth: int, skip: int) -> None:
    q, d = unit(40), unit(50, seed=1)
    own = [[i, i + 1] if i % 3 == 0 else [i] for i in range(40)]  # rows 0 and 1 share an answer, 2 and 3 do not
    order = (q @ d.T).argsort(dim=1, descending=True).tolist()
    near = [[j for j in order[i] if j not in own[i]][skip : skip + depth] for i in range(40)]
    one_way = {(i, j) for i in range(40) for j in range(40) if set(own[j]) & set(near[i]) and not set(own[i]) & set(own[j])}
    want = {(i, j) for i, j in one_way if (j, i) in one_way and i < j}
    assert set(Communities(size=8, depth=depth, skip=skip)._links(q, d, [frozenset(o) for o in own])) == want


def test_large_communities_are_cut_and_every_row_is_somewhere() -> None:
    x = unit(90, 4)
    for size in (2, 7, 32):
        found = Communities(size=size, depth=20, skip=0)(x, x, [[i] for i in range(90)])
        sizes = torch.bincount(found.of)
        assert int(sizes.sum()) == 90 and int(sizes.max()) == min(size, int(sizes.max())) and int(sizes.min()) >= 1
        first = [found.of.tolist().index(c) for c in range(len(sizes))]
        assert first == sorted(first)  # numbered in the order of their first rows
        again = Communities(size=size, depth=20, skip=0)(x, x, [[i] for i in range(90)])
        assert torch.equal(found.of, again.of)
    far = Communities(size=2, depth=1, skip=88)(x, x, [[i] for i in range(90)])  # the farthest of each: mutual for few
    assert far.links < 45 and "rows alone" in far.text


def test_communities_are_harder_than_chance() -> None:
    """Mean of the eight best negatives in a batch, by the teacher itself."""
    x = unit(200, 5)
    found = Communities(size=10, depth=20, skip=2)(x, x, [[i] for i in range(200)])

    def hardness(groups: torch.Tensor | None) -> float:
        plan = Plan((200,), 20, 0, groups=groups)
        batches = [x[plan.batch(step)] for step in range(10)]
        return float(torch.stack([(b @ b.T).fill_diagonal_(-1).topk(8, dim=1).values.mean() for b in batches]).mean())

    assert hardness(found.of) > hardness(None) + 0.1


@pytest.mark.parametrize("seed", range(3))
def test_batches_of_communities_train_better_retrievers(seed: int) -> None:
    """Pairs in a hundred topics, a teacher that knows the topics only roughly, small batches: held-out answers are found more often."""
    gen = torch.Generator().manual_seed(seed)
    topics, rows, width = torch.randn(100, 24, generator=gen), 1500, 48
    mix = [torch.randn(24, width, generator=gen) / 24**0.5 for _ in range(2)]
    of = torch.randint(0, 100, (rows + 500,), generator=gen)
    item = topics[of] + 0.5 * torch.randn(rows + 500, 24, generator=gen)
    asked, answer = ((item @ m).tanh() + 0.1 * torch.randn(rows + 500, width, generator=gen) for m in mix)
    teacher = normalize(item[:rows] + 0.5 * torch.randn(rows, 24, generator=gen), dim=1)
    groups = Communities(size=4, depth=15, skip=0)(teacher, teacher, [[i] for i in range(rows)]).of

    def found(groups: torch.Tensor | None) -> float:
        plan = Plan((rows,), 32, seed, groups=groups)
        torch.manual_seed(seed)
        towers = [nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 16)) for _ in range(2)]
        step = torch.optim.Adam([p for tower in towers for p in tower.parameters()], lr=3e-3)
        for number in range(400):
            some = plan.batch(number)
            queries, keys = (normalize(tower(side[some]), dim=1) for tower, side in zip(towers, (asked, answer), strict=True))
            step.zero_grad()
            InfoNCE(temperature=0.05)(Pairs.aligned(queries, keys)).mean().backward()
            step.step()
        with torch.no_grad():
            queries, keys = (normalize(tower(side[rows:]), dim=1) for tower, side in zip(towers, (asked, answer), strict=True))
        return float(((queries @ keys.T).argmax(1) == torch.arange(500)).double().mean())

    by_chance, by_community = found(None), found(groups)
    assert by_community > by_chance + 0.01, (by_chance, by_community)


def test_the_command_writes_the_column_that_training_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kinds = {"fruit": ["apple", "pear", "plum", "cherry", "grape", "fig"], "tool": ["hammer", "saw", "drill", "wrench", "chisel", "plane"]}
    rows = [{"anchor": f"what is a {w}", "positive": f"a {w} is a {kind}", "n": i} for kind, ws in kinds.items() for i, w in enumerate(ws)]
    data, out = tmp_path / "pairs.jsonl", tmp_path / "grouped.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    call = ["communities", "minilm", "--data", str(data), "--out", str(out), "--size", "6", "--depth", "5", "--skip", "0"]
    assert main(call) == 0
    grouped = list(open_rows(out))
    assert [{k: row[k] for k in ("anchor", "positive", "n")} for row in grouped] == rows
    assert {row["community"] for row in grouped[:6]}.isdisjoint(row["community"] for row in grouped[6:])
    assert "12 rows in" in capsys.readouterr().out
    train = ["train", "clip-pairs", "--data", str(out), "--out", str(tmp_path / "run"), "--set", "batches.together=community"]
    small = ["--set", "encoder=toy.bag", "--set", "step.batch_size=6", "--set", "step.micro_batch_size=0", "--set", "step.max_steps=3"]
    assert main([*train, *small]) == 0
    assert 'together = "community"' in (tmp_path / "run" / "recipe.toml").read_text()


def test_what_is_refused(tmp_path: Path) -> None:
    x = unit(4)
    with pytest.raises(ParameterError, match="size must be"):
        Communities(size=1)
    with pytest.raises(DataError, match="vectors of one length"):
        Communities()(x, unit(4, 5), [[0]] * 4)
    with pytest.raises(DataError, match="a query a row"):
        Communities()(x, x, [[0]] * 3)
