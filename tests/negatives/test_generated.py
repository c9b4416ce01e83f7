"""Negatives that are made: noise (DCLR), mixtures (MoCHi), centroids (ClusterNS); queues of tasks."""

import pytest
import torch

from dipole.core.errors import DataError, UsageError
from dipole.core.pairs import Pairs
from dipole.losses import InfoNCE
from dipole.negatives.centroids import Centroids, spread_out
from dipole.negatives.mixed import Mixed
from dipole.negatives.noise import Noise
from dipole.negatives.task_queues import TaskQueues
from dipole.pairwise.scores.cosine import Cosine
from dipole.views.aligned import Aligned
from dipole.views.grouped import Grouped
from tests.golden_case import EXACT, Case


def vectors(n, d=5, seed=0):
    return torch.nn.functional.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=1)


def test_ascended_noise_is_dclrs():
    case = Case("dclr__cl_vat_forward__noise_mask_pgd4")
    z, z_pos, noise = (t.detach() for t in case.leaves("z", "z_pos", "noise"))
    part = Noise(ascents=case.hyper["pgd_steps"], size=case.hyper["pgd_step"], temperature=case.hyper["temperature"])
    pairs = Pairs.aligned(z, z_pos, score=Cosine())
    moved = part.ascended(pairs, noise)
    found = torch.nn.functional.normalize(z, dim=1) @ torch.nn.functional.normalize(moved, dim=1).T / case.hyper["temperature"]
    torch.testing.assert_close(found, case.array("out_logits")[:, len(z) :], **EXACT)
    step = Noise(ascents=1, size=0.001).ascended(pairs, noise) - noise
    torch.testing.assert_close(step.norm(dim=1), torch.full((len(noise),), 1e-3).double())


def test_noise_columns_are_dclrs():
    case = Case("dclr__cl_vat_forward__noise_mask")
    z, z_pos, noise = case.leaves("z", "z_pos", "noise")
    g1, g2 = (torch.nn.functional.normalize(t.detach(), dim=1) for t in case.leaves("g1", "g2"))
    false = (g1 @ g2.T > case.hyper["phi"]).fill_diagonal_(False)
    pairs = Pairs.aligned(z, z_pos, score=Cosine()).with_negatives(noise.detach())

    def masked(tile):
        weight = torch.nn.functional.pad(~false, (0, len(noise)), value=True)[tile.row_index, tile.col_index]
        return (tile.scores / 0.05).masked_fill(~weight, -torch.inf)

    from dipole.pairwise import logsumexp_rows

    loss = (logsumexp_rows(masked, pairs) - pairs.positive_scores() / 0.05).mean()
    case.agrees(loss, value="paper_value", grad="paper_grad_", z=z, z_pos=z_pos)


def test_ascent_raises_the_loss_and_the_draw_is_new_each_step():
    q, k = vectors(6), vectors(6, seed=1)
    pairs, lost = Pairs.aligned(q, k), []
    for ascents in (0, 1, 4):
        wider = Noise(ratio=2.0, ascents=ascents, size=0.05).extend(pairs, {}, {})
        assert wider.shape == (6, 18) and not wider.keys[6:].requires_grad
        lost.append(float(InfoNCE(temperature=0.05)(wider).mean()))
    assert lost[0] < lost[1] < lost[2]
    part = Noise()
    before = part.extend(pairs, {}, {}).keys[6:]
    part.update({}, {})
    after = part.extend(pairs, {}, {}).keys[6:]
    assert not torch.equal(before, after)
    torch.testing.assert_close(before.norm(dim=1), torch.ones(6).double())
    raw = Noise(unit=False, ratio=1000.0).extend(pairs, {}, {}).keys[6:]
    assert abs(float(raw.mean())) < 0.05 and abs(float(raw.var()) - 1) < 0.05
    assert Noise(ratio=0.001).extend(pairs, {}, {}).shape == (6, 7)


def test_mixtures_lie_where_mochi_says():
    q, k, hard = vectors(4), vectors(4, seed=1), vectors(9, seed=2)
    pairs = Pairs.aligned(q, k).with_negatives(hard)
    wider = Mixed(pool=3, between=40, toward=20, unit=False).extend(pairs, {}, {})
    made = wider.keys[13:].view(4, 60, 5)
    for row in range(4):
        others = torch.cat([k[[j for j in range(4) if j != row]], hard])
        pool = others[(others @ q[row]).topk(3).indices]
        between, toward = made[row, :40], made[row, 40:]
        weights = torch.linalg.lstsq(pool.T, between.T).solution.T
        torch.testing.assert_close(weights @ pool, between)
        assert bool((weights > -1e-9).all()) and bool(((weights.sum(1) - 1).abs() < 1e-9).all())
        assert bool(((weights > 1e-9).sum(1) <= 2).all()) and bool((weights > 1e-9).any(0).all())
        share = torch.linalg.lstsq(torch.cat([q[row : row + 1], pool]).T, toward.T).solution.T
        torch.testing.assert_close(share @ torch.cat([q[row : row + 1], pool]), toward)
        assert bool((share[:, 0] < 0.5).all()) and float(share[:, 0].max()) > 0.3
        visible = [bool(~wider.excluded[-1].tile(slice(row, row + 1), slice(c, c + 1))) for c in range(13, 13 + 240)]
        assert visible == [c // 60 == row for c in range(240)]
    assert float((Mixed(pool=3, between=4, toward=4).extend(pairs, {}, {}).keys[13:].norm(dim=1) - 1).abs().max()) < 1e-9


def test_mixtures_wait_and_need_something_to_mix():
    one = vectors(3)
    pairs = Pairs.aligned(one, one)
    part = Mixed(start=2, between=1, toward=1)
    for step in range(3):
        assert (part.extend(pairs, {}, {}) is pairs) == (step < 2)
        part.update({}, {})
    alone = Pairs.aligned(one, one, query_ids=torch.zeros(3, dtype=torch.int64))  # all copies of one another: no negatives
    assert part.extend(alone, {}, {}) is alone
    ragged = Pairs.aligned(one, one, query_ids=torch.tensor([1, 1, 2])).with_negatives(one[:1], owner=torch.tensor([2]))
    assert Mixed(between=2, toward=0).extend(ragged, {}, {}).shape == (3, 10)
    with pytest.raises(UsageError, match="between and toward are both 0"):
        Mixed(between=0, toward=0)


@pytest.mark.parametrize(("stem", "rate"), [("kmeans", 1.0), ("momentum", 0.1)])
def test_centroids_are_clusternss(stem, rate):
    """The paper's form: the mean of a cluster's members. InfoNCE with the second nearest, and the band over the cluster metadata."""
    case = Case(f"clusterns__cl_forward-kmeans_cluster__{stem}")
    z, z_pos = case.leaves("z", "z_pos")
    part = Centroids(clusters=3, rate=rate)
    part.centroids = case.array("in_centroids")
    sides = {"queries": z, "keys": z_pos}
    pairs = part.extend(Pairs.aligned(z, z_pos, score=Cosine()), sides, {})
    part.update({n: t.detach() for n, t in sides.items()}, {})
    torch.testing.assert_close(part.centroids, case.array("paper_new_centroids"), **EXACT)
    want = torch.nn.functional.normalize(part.centroids[case.array("paper_hard_index")], dim=1)
    torch.testing.assert_close(pairs.keys[8:], want, **EXACT)
    same = (pairs.rows["cluster"][:, None] == pairs.cols["cluster"][None, :8]).fill_diagonal_(False)
    assert torch.equal(same.double(), case.array("paper_false_neg_mask"))
    assert pairs.cols["cluster"][8:].tolist() == [-1] * 8
    unit = [torch.nn.functional.normalize(x, dim=1) for x in (z, z_pos)]
    scores = unit[0] @ unit[1].T
    apart = (scores - scores.diagonal()[:, None]) * same
    band = (apart + case.hyper["alpha"]).relu() + (-apart - case.hyper["beta"]).relu()
    loss = InfoNCE(temperature=0.05)(pairs).mean() + case.hyper["bml_weight"] * band.mean()
    case.agrees(loss, value="paper_value", grad="paper_grad_", z=z, z_pos=z_pos)


def test_first_centroids_are_clusternss():
    case = Case("clusterns__kmeans_cluster.optimized_centroid_init__init")
    z, z_pos = (t.detach() for t in case.leaves("z", "z_pos"))
    unit = [torch.nn.functional.normalize(x, dim=1) for x in (z, z_pos)]
    chosen = spread_out(*unit, int(case.arrays["in_K"]), int(case.arrays["in_first"]))
    torch.testing.assert_close(z[chosen], case.array("out_centroids"))


def test_clusters_begin_when_the_batch_has_spread():
    part, close = Centroids(clusters=3, spread=0.4), vectors(6) * 0.1 + 1
    pairs = Pairs.aligned(close, close)
    quiet = part.extend(pairs, {"queries": close, "keys": close}, {})
    part.update({"queries": close, "keys": close}, {})
    assert quiet.shape == (6, 6) and quiet.cols["cluster"].tolist() == [-1] * 6 and part.centroids.shape == (3, 0)
    apart = vectors(6)
    assert part.extend(Pairs.aligned(apart, apart), {"queries": apart, "keys": apart}, {}).shape == (6, 12)
    part.update({"queries": apart, "keys": apart}, {})
    assert {tuple(c) for c in part.centroids.tolist()} <= {tuple(v) for v in apart.tolist()}
    few = vectors(2)
    with pytest.raises(DataError, match="3 clusters begin with as many rows"):
        Centroids(clusters=3, spread=1.0).extend(Pairs.aligned(few, few), {"queries": few, "keys": few}, {})
    with pytest.raises(DataError, match="centroids: holds vectors of 5 dimensions"):
        part.update({"queries": vectors(6, d=4), "keys": vectors(6, d=4)}, {})


def test_a_row_sees_the_queue_of_its_task_only():
    """Against a list a task; the frequent task does not flush the rare one."""
    part, kept = TaskQueues(size=3, tasks=2), {0: [], 7: []}
    for step in range(4):
        tasks = torch.tensor([0, 0, 0, 7][: 3 + step % 2])
        new = vectors(len(tasks), seed=step)
        part.update({"keys": new}, {"keys.task": tasks})
        for v, t in zip(new, tasks.tolist(), strict=True):
            kept[t] = [*kept[t], v][-3:]
    q, k, tasks = vectors(3, seed=8), vectors(3, seed=9), torch.tensor([7, 0, 7])
    pairs = part.extend(Pairs.aligned(q, k), {"keys": k}, {"queries.task": tasks, "keys.task": tasks})
    values = InfoNCE(temperature=0.5)(pairs)
    for row in range(3):
        logits = torch.cat([k, torch.stack(kept[int(tasks[row])])]) @ q[row] / 0.5
        torch.testing.assert_close(values[row], logits.logsumexp(0) - logits[row])


def test_tasks_come_from_the_rows():
    rows = [{"anchor": f"a{i}", "positive": [f"p{i}", f"q{i}"], "task": t} for i, t in enumerate(("en", "de", "en"))]
    for views in (Aligned(), Grouped()):
        meta = views(rows).meta
        assert meta["queries.task"][0] == meta["queries.task"][2] != meta["queries.task"][1]
        assert len(meta["keys.task"]) == len(meta["keys.id"])
    assert Aligned()([{"anchor": "a", "positive": "b", "task": 3}]).meta["queries.task"].tolist() == [3]
    with pytest.raises(DataError, match="aligned: row 1 of the batch needs a task"):
        Aligned()([{"anchor": "a", "positive": "b", "task": 3}, {"anchor": "a", "positive": "b"}])


def test_task_queues_refuse():
    one, part = vectors(2), TaskQueues(size=2, tasks=1)
    with pytest.raises(DataError, match="rows carry no task; add a column 'task', or use queue"):
        part.extend(Pairs.aligned(one, one), {"keys": one}, {})
    with pytest.raises(DataError, match=r"more than 1 tasks.*raise tasks"):
        part.update({"keys": one}, {"keys.task": torch.tensor([0, 1])})
