"""Losses around a loss: loops over pairs, reductions to what they change, and what they refuse."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from dipole import Pairs
from dipole.core.by_score import ByScore
from dipole.core.errors import DataError, DegenerateBatchError, ParameterError
from dipole.core.relations import Diagonal, Listed, Match, Owned
from dipole.core.woven import Woven
from dipole.losses import (
    DCL,
    BothViews,
    ClassGated,
    Graded,
    HardestOnly,
    InfoNCE,
    KeysAsk,
    LearnedWeights,
    OwnOnly,
    PerPositive,
    Propensity,
    SupCon,
    WithoutEqual,
    WithoutSimilar,
)
from dipole.pairwise import Channel, Sum, reduce
from dipole.pairwise.scores.bilinear import Bilinear
from dipole.pairwise.scores.cosine import Cosine

COPIES = torch.tensor([1, 1, 2, 3, 4, 4, 4])


def sides(n=7, m=None, d=5, seed=0):
    gen = torch.Generator().manual_seed(seed)
    return [normalize(torch.randn(r, d, generator=gen, dtype=torch.float64), dim=1).requires_grad_() for r in (n, m or n)]


def lse(scores):
    return math.log(sum(math.exp(s) for s in scores))


def test_both_views_by_a_loop_with_copies_and_hard_negatives():
    a, b = sides()
    more, owner = sides(4, seed=9)[0], torch.tensor([-1, 2, 2, 5])
    pairs = Pairs.aligned(a, b, key_ids=COPIES).with_negatives(more, owner)
    items = [(v, i) for i in range(7) for v in (a[i], b[i])]
    each, mean = InfoNCE(temperature=0.3)(pairs.both_views()), BothViews(InfoNCE(temperature=0.3))(pairs)
    for r, (vector, i) in enumerate(items):
        twin = r ^ 1
        seen = [v for c, (v, j) in enumerate(items) if c != r and (c == twin or COPIES[i] != COPIES[j])]
        seen += [more[j] for j in range(4) if owner[j] in (-1, i)]
        own = float((vector @ items[twin][0]).detach()) / 0.3
        assert each[r].item() == pytest.approx(lse([float((vector @ v).detach()) / 0.3 for v in seen]) - own, rel=1e-10)
    torch.testing.assert_close(mean, each.reshape(7, 2).mean(1))


def test_both_views_of_unique_labels_is_supcon():
    a, b = sides()
    want = SupCon(temperature=0.2)(Pairs.labelled(torch.cat([a, b]), torch.arange(7).repeat(2)))
    got = InfoNCE(temperature=0.2)(Pairs.aligned(a, b).both_views())
    torch.testing.assert_close(got.reshape(7, 2).T.flatten(), want)


@pytest.mark.parametrize("flip", [False, True])
def test_a_woven_relation_relates_what_its_pairs_relate(flip):
    n, more = 4, 3
    row, col, weight = torch.tensor([0, 1, 1, 3]), torch.tensor([2, 1, 6, 0]), torch.tensor([1.0, 2.0, 3.0, 4.0])
    inner = [
        Match(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 0, 1, 2, -1, 1, 0])),
        Owned(torch.tensor([-1, -1, -1, -1, 2, 0, -1])),
        Listed.of(row, col, weight),
        Diagonal(1, 3),
    ]
    whole = slice(0, n), slice(0, n + more)
    pair_of = [0, 0, 1, 1, 2, 2, 3, 3], [0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 6]
    for relation in inner:
        woven = Woven(relation, n)
        want = relation.weights(*whole)[pair_of[0]][:, pair_of[1]]
        assert woven.count(slice(1, 8), 11).tolist() == (want[1:] > 0).sum(1).tolist()
        if flip:
            woven, want = woven.flipped(), want.T
        rows, cols = want.shape
        spans = [slice(a, b) for a, b in itertools.combinations(range(max(rows, cols) + 1), 2)]
        for r, c in itertools.product([s for s in spans if s.stop <= rows], [s for s in spans if s.stop <= cols]):
            mask, weights = woven.tile(r, c), woven.weights(r, c)
            assert torch.equal(want[r, c], torch.zeros_like(want[r, c]) if weights is None else weights)
            assert torch.equal(want[r, c] > 0, torch.zeros_like(want[r, c]) > 0 if mask is None else mask)


def test_both_views_weave_metadata_and_channels():
    a, b = sides()
    ta, tb = sides(seed=5)
    label, score = torch.arange(7) % 3, torch.rand(7)
    pairs = replace(
        Pairs.aligned(a, b),
        rows={"label": label, "score": score},
        cols={"label": label + 1},
        channels={"teacher": Channel(ta, tb, Cosine())},
    )
    both = pairs.both_views()
    assert both.rows["label"].tolist() == [x for i in label.tolist() for x in (i, i + 1)]
    assert both.cols["label"].tolist() == [x for i in label.tolist() for x in (i + 1, i)]
    assert both.rows["score"].tolist() == score.repeat_interleave(2).tolist()
    taught = reduce(lambda t: t.channels["teacher"] * (t.col_index == 5), both, s=Sum("rows")).s
    items = torch.stack([ta, tb], 1).flatten(0, 1)
    torch.testing.assert_close(taught, items @ ta[2] * (torch.arange(14) != 4))  # row 4 is column 5 itself


EYE = torch.eye(3)
GROUPED = Pairs.grouped(EYE[:2], torch.ones(3, 3), torch.arange(2), torch.tensor([0, 1, 1]))


def noted(axis, **numbers):
    """Aligned pairs with numbers of each row, or of each column."""
    return replace(Pairs.aligned(EYE, EYE), **{axis: {name: torch.tensor(values) for name, values in numbers.items()}})


@pytest.mark.parametrize(
    ("loss", "pairs", "says"),
    [
        (BothViews(), Pairs.labelled(EYE, torch.tensor([0, 0, 1])), "both_views needs aligned pairs"),
        (BothViews(), Pairs(EYE[:2], EYE, Diagonal(1, 2)), "row i's positive must be column i"),
        (BothViews(), Pairs.aligned(EYE, torch.eye(3, 4), score=Bilinear(3, 4)), "vectors of one shape"),
        (KeysAsk(), GROUPED, "as many keys as queries"),
        (WithoutEqual(by="hash"), Pairs.aligned(EYE, EYE), "lack 'hash'; they have nothing"),
        (WithoutSimilar(above=0.9), Pairs.aligned(EYE, EYE), "must have a channel 'teacher'"),
        (Graded(), noted("rows", score=[1.0, -2.0, 3.0]), "got -2.0"),
        (Graded(), noted("rows", score=[1.0, math.nan, 1.0]), "got nan"),
        (Graded(map="inverse"), noted("rows", score=[1.0, 0.0, 1.0]), "numbers must be at least 0.*got 0.0"),
        (Propensity(), noted("cols", propensity=[0.5, 0.0, 1.0]), "above 0"),
        (LearnedWeights(dimension=4), Pairs.aligned(EYE, EYE), "was made for vectors of 4 dimensions"),
    ],
)
def test_what_is_refused(loss, pairs, says):
    with pytest.raises(DataError, match=says):
        loss(pairs)


def test_a_teacher_without_a_bound_is_refused():
    with pytest.raises(ParameterError, match="above must be given, or margin, or ratio"):
        WithoutSimilar()


def test_keys_ask_of_aligned_and_of_labelled_pairs():
    q, k = sides()
    more = sides(4, seed=9)[0]
    pairs = Pairs.aligned(q, k, key_ids=COPIES).with_negatives(more)
    torch.testing.assert_close(KeysAsk(DCL(0.2))(pairs), DCL(0.2)(Pairs.aligned(k, q, key_ids=COPIES)))
    labels, other = torch.arange(7) % 3, torch.arange(7) % 4
    grouped = Pairs.grouped(q, k, labels, other)
    torch.testing.assert_close(KeysAsk(PerPositive(0.2))(grouped), PerPositive(0.2)(Pairs.grouped(k, q, other, labels)))


def counted(pairs, loss, keep, scores, temperature):
    """``loss`` sees exactly the kept entries."""
    got = loss(pairs)
    for i in range(len(got)):
        seen = [float(scores[i, j].detach()) / temperature for j in range(scores.shape[1]) if keep[i, j]]
        assert got[i].item() == pytest.approx(lse(seen) - float(scores[i, i].detach()) / temperature, rel=1e-10)


def test_without_equal_by_a_loop():
    q, k = sides()
    row, col = torch.tensor([0, 0, 1, 2, -1, 2, 0]), torch.tensor([0, 3, 1, 1, -1, 2, 2, 0, -1])
    more = sides(2, seed=9)[0]
    pairs = replace(Pairs.aligned(q, k).with_negatives(more), rows={"topic": row}, cols={"topic": col})
    keep = (row[:, None] != col[None]) | (col[None] < 0) | torch.eye(7, 9, dtype=torch.bool)
    counted(pairs, WithoutEqual(InfoNCE(0.2), by="topic"), keep, torch.cat([q @ k.T, q @ more.T], 1), 0.2)


@pytest.mark.parametrize("bounds", [{"above": 0.3}, {"margin": 0.2}, {"ratio": 0.5}, {"above": 0.3, "margin": 0.1, "ratio": 0.9}])
def test_without_similar_by_a_loop(bounds):
    q, k, tq, tk = *sides(), *sides(seed=1)
    with torch.no_grad():
        tk = normalize(tq + 0.7 * tk, dim=1)  # a teacher that mostly agrees with the pairs
        u = tq @ tk.T
    pairs = replace(Pairs.aligned(q, k), channels={"teacher": Channel(tq, tk, Cosine())})
    own = u.diagonal()[:, None]
    near = u > bounds.get("above", 9)
    if "margin" in bounds:
        near |= u > own - bounds["margin"]
    if "ratio" in bounds:
        near |= u > own * bounds["ratio"]
    keep = ~near | torch.eye(7, dtype=torch.bool)
    assert 0 < int((~keep).sum()) < 42
    counted(pairs, WithoutSimilar(InfoNCE(0.2), **bounds), keep, q @ k.T, 0.2)


def test_by_score_counts_and_turns():
    tq, tk = (x.detach() for x in sides(5, 6))
    relation = ByScore(Channel(tq, tk, Cosine()), torch.full((5,), 0.1, dtype=torch.float64))
    want = tq @ tk.T > 0.1
    assert relation.count(slice(1, 4), 6).tolist() == want[1:4].sum(1).tolist()
    assert torch.equal(relation.flipped().tile(slice(0, 6), slice(2, 5)), want.T[:, 2:5])
    assert torch.equal(replace(relation, above=False).tile(slice(0, 5), slice(0, 6)), tq @ tk.T < 0.1)


def test_graded_of_the_catalogues_probe():
    """Row 150: its value is the definition, no official loss being released."""
    n = torch.arange(12, dtype=torch.float64).reshape(4, 3)
    q, k = normalize(torch.sin(1 + n), dim=1), normalize(torch.cos(1 + 2 * n), dim=1)
    pairs = replace(Pairs.aligned(q, k), rows={"score": torch.tensor([1.0, 0.5, 0.25, 0.1], dtype=torch.float64)})
    loss = Graded(InfoNCE(temperature=0.1, two_sided=True))
    assert loss(pairs).mean().item() == pytest.approx(1.8859738317, rel=1e-9)
    plain = replace(pairs, rows={"score": torch.ones(4)})
    assert loss(plain).mean().item() == pytest.approx(3.0273150078, rel=1e-9)
    torch.testing.assert_close(loss(replace(pairs, rows={"score": 3 * pairs.rows["score"]})), 3 * loss(pairs))


def test_a_row_of_weight_zero_is_no_anchor_but_stays_a_negative():
    q, k = sides(3)
    pairs = replace(Pairs.aligned(q, k), rows={"score": torch.tensor([1.0, 0.0, 1.0])})
    values = Graded(InfoNCE(0.2))(pairs)
    assert values[1].item() == 0
    grad_q, grad_k = torch.autograd.grad(values.sum(), [q, k])
    assert not grad_q[1].any() and bool(grad_k[1].any())


MAPS = {
    "as_given": lambda r: r,
    "inverse": lambda r: 1 / r,
    "inverse_log": lambda r: 1 / math.log2(1 + r),
    "log": lambda r: math.log(1 + r),
}


@pytest.mark.parametrize(("name", "weight"), MAPS.items())
def test_maps_from_score_to_weight(name, weight):
    q, k = sides(3)
    ranks = torch.tensor([1, 4, 10])
    values = Graded(InfoNCE(0.2), by="rank", map=name)(replace(Pairs.aligned(q, k), rows={"rank": ranks}))
    want = [weight(r) * v for r, v in zip(ranks.tolist(), InfoNCE(0.2)(Pairs.aligned(q, k)).tolist(), strict=True)]
    assert values.tolist() == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("two_sided", [False, True])
def test_propensity_by_a_loop(two_sided):
    q, k = sides()
    p = torch.linspace(0.1, 1.0, 7, dtype=torch.float64)
    got = Propensity(InfoNCE(0.2, two_sided=two_sided))(replace(Pairs.aligned(q, k), cols={"propensity": p}))
    e = (q @ k.T / 0.2).exp().detach()
    w = torch.where(torch.eye(7, dtype=torch.bool), 1.0, 1 / p)
    there = ((e * w).sum(1) / e.diagonal()).log()
    back = ((e * w).sum(0) / e.diagonal()).log()
    torch.testing.assert_close(got.detach(), (there + back) / 2 if two_sided else there)
    torch.testing.assert_close(
        DCL(0.2)(Pairs.aligned(q, k)) + math.log(4),
        Propensity(DCL(0.2))(replace(Pairs.aligned(q, k), cols={"propensity": torch.full((7,), 0.25)})),
    )


def test_weights_of_several_losses_multiply():
    q, k = sides()
    p = torch.full((7,), 0.5, dtype=torch.float64)
    pairs = replace(Pairs.aligned(q, k), cols={"a": p, "b": p})
    torch.testing.assert_close(Propensity(Propensity(DCL(0.2), by="a"), by="b")(pairs), DCL(0.2)(pairs) + 2 * math.log(2))


def test_learned_weights_of_one_change_nothing_and_of_a_half_halve():
    q, k = sides()
    loss = LearnedWeights(DCL(0.2), dimension=5).double()
    torch.nn.init.zeros_(loss.outer.weight)
    for bias, change in ((40.0, 0.0), (0.0, math.log(0.5))):
        torch.nn.init.constant_(loss.outer.bias, bias)
        torch.testing.assert_close(loss(Pairs.aligned(q, k)), DCL(0.2)(Pairs.aligned(q, k)) + change)


def test_training_shrinks_all_learned_weights():
    """The catalogue's check of row 57: nothing holds them up."""
    torch.manual_seed(0)
    q, k = sides()
    loss = LearnedWeights(InfoNCE(0.2), dimension=5).double()
    loss(Pairs.aligned(q, k)).mean().backward()
    assert loss.outer.bias.grad.item() > 0 and all(p.grad is not None for p in loss.parameters())


def test_own_only_by_a_loop():
    q, k = sides()
    more, owner = sides(6, seed=9)[0], torch.tensor([3, 0, 0, 6, -1, 3])
    pairs = replace(Pairs.aligned(q, k), cols={"owner": torch.arange(7)}).with_negatives(more, cols={"owner": owner})
    keep = torch.cat([torch.eye(7, dtype=torch.bool), owner[None] == torch.arange(7)[:, None]], 1)
    counted(pairs, OwnOnly(InfoNCE(0.2)), keep, torch.cat([q @ k.T, q @ more.T], 1), 0.2)
    with pytest.raises(DegenerateBatchError, match="no row has a hard negative of its own"):
        OwnOnly()(replace(Pairs.aligned(q, k), cols={"owner": torch.arange(7)}))


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 1.0])
def test_hardest_only_by_sorting(share):
    q, k = sides()
    scores = (q @ k.T).detach()
    count = max(1, math.ceil(share * 6))
    last = scores.masked_fill(torch.eye(7, dtype=torch.bool), -9).sort(1, descending=True).values[:, count - 1 : count]
    keep = (scores >= last) | torch.eye(7, dtype=torch.bool)
    counted(Pairs.aligned(q, k), HardestOnly(InfoNCE(0.2), share=share), keep, q @ k.T, 0.2)


def test_hardest_only_chooses_among_what_counts():
    q, k = sides()
    pairs = Pairs.aligned(q, k, key_ids=COPIES)
    keep = (COPIES[:, None] != COPIES[None]) | torch.eye(7, dtype=torch.bool)
    scores = torch.where(keep & ~torch.eye(7, dtype=torch.bool), (q @ k.T).detach(), -9.0)
    keep &= (scores >= scores.amax(1, keepdim=True)) | torch.eye(7, dtype=torch.bool)
    counted(pairs, HardestOnly(InfoNCE(0.2), share=0.1), keep, q @ k.T, 0.2)


def test_the_hardest_negative_alone_at_a_low_temperature_is_a_hinge():
    """Row 38: the limit of explicit selection, and of a low temperature without it."""
    q, k = sides()
    s = (q @ k.T).detach()
    hinge = (s.masked_fill(torch.eye(7, dtype=torch.bool), -9).amax(1) - s.diagonal()).relu()
    for loss in (HardestOnly(InfoNCE(temperature=1e-3), share=0.01), InfoNCE(temperature=1e-3)):
        torch.testing.assert_close(1e-3 * loss(Pairs.aligned(q, k)).detach(), hinge, atol=1e-2, rtol=0)


def two_classes(labels, partner, z):
    pairs = Pairs.labelled(z, labels)
    known = {"label": labels, "partner": partner}
    return replace(pairs, positive=Match(partner, labels, others_only=True), duplicates=(Match(labels, labels),), rows=known)


def test_class_gated_by_loops():
    """arXiv:2410.13200: the anchor's gate on both sides, a softmax a positive, both classes no negatives."""
    torch.manual_seed(0)
    (z, _), loss = sides(n=8), ClassGated(PerPositive(temperature=0.3), dimension=5, classes=4, width=6, hidden=7).double()
    labels, partner = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3]), torch.tensor([1, 2, 0, 3, 3, 0, 2, 1])
    want = []
    for a in range(8):
        middle = (loss.embedding.weight[labels[a]] + loss.embedding.weight[partner[a]]) / 2
        gate = loss.network(middle[None])[0].sigmoid()
        each = []
        scores = [torch.cosine_similarity(gate * z[a], gate * z[n], dim=0) / 0.3 for n in range(8)]
        repelled = sum(scores[n].exp() for n in range(8) if labels[n] not in (labels[a], partner[a]))
        for p in range(8):
            if labels[p] == partner[a]:
                each.append((scores[p].exp() + repelled).log() - scores[p])
        want.append(sum(each) / len(each))
    got = loss(two_classes(labels, partner, z))
    torch.testing.assert_close(got, torch.stack(want))
    wanted = [z, *loss.parameters()]
    for mine, theirs in zip(torch.autograd.grad(got.sum(), wanted), torch.autograd.grad(torch.stack(want).sum(), wanted), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_open_gates_leave_the_cosine_and_wrong_classes_are_refused():
    z, _ = sides(n=6)
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    loss = ClassGated(PerPositive(temperature=0.3), dimension=5, classes=3).double()
    torch.nn.init.zeros_(loss.network[-1].weight)
    torch.nn.init.constant_(loss.network[-1].bias, 40.0)
    own = two_classes(labels, labels, z)
    torch.testing.assert_close(loss(own), PerPositive(temperature=0.3)(Pairs.labelled(z, labels, score=Cosine())))
    with pytest.raises(DataError, match="classes must be from 0 to 2"):
        loss(two_classes(labels + 1, labels, z))
    with pytest.raises(DataError, match="lack 'partner'"):
        loss(Pairs.labelled(z, labels))
    with pytest.raises(DataError, match="dimension it was made for"):
        loss(two_classes(labels, labels, z[:, :4]))
