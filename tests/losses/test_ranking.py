"""Lists and grades: official values, loops over permutations, closed forms, invariances, and what is refused."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from dipole import Pairs
from dipole.core.errors import DataError, DegenerateBatchError
from dipole.core.lists import lists_of
from dipole.core.ranks import Ring
from dipole.core.relations import Diagonal
from dipole.core.scores import Channel, Dot
from dipole.losses import PRO, Distilled, InfoNCE, ListKL, ListMLE, MarginMSE, Pearson, RankKL
from dipole.pairwise.scores.cosine import Cosine
from dipole.views.candidate_lists import CandidateLists
from dipole.views.scored import Scored
from tests.golden_case import EXACT, Case


def in_one_list(scores, teacher):
    """Row i's list is all columns: scores and teacher are given tables (n, n)."""
    eye, one = torch.eye(len(scores), dtype=scores.dtype), {"list": torch.zeros(len(scores), dtype=torch.int64)}
    taught = {"teacher": Channel(teacher, eye, Dot())}
    return Pairs(scores, eye, Diagonal(0, len(scores)), rows=one, cols=one, channels=taught)


def tables(n=5, seed=0):
    gen = torch.Generator().manual_seed(seed)
    scores, teacher = (torch.randn(n, n, generator=gen, dtype=torch.float64) for _ in range(2))
    return scores.requires_grad_(), teacher


def graded(pred, gold):
    """Pairs whose scores are given numbers."""
    pairs = Pairs.aligned(pred[:, None], torch.ones_like(pred)[:, None])
    return replace(pairs, rows={"score": gold})


@pytest.mark.parametrize("stem", ["list", "list_tau05"])
def test_list_mle_is_the_authors_without_their_epsilon(stem):
    case = Case(f"ranking-sentences__refine-transform-ListMLE__{stem}")
    s, target = case.leaf("S"), case.array("out_P")  # S is already divided by the temperature
    loss = ListMLE(temperature=1.0)(in_one_list(s, target)).mean()
    case.agrees(loss, value="paper_value", grad="paper_grad_", S=s)


def test_list_mle_is_the_likelihood_of_a_permutation():
    """Plackett-Luce: over all orders of a list the likelihoods add up to 1."""
    s, _ = tables(4)
    total = 0.0
    for order in itertools.permutations(range(4)):
        teacher = torch.tensor([[-float(order.index(j)) for j in range(4)]] * 4, dtype=torch.float64)
        total = total + (-ListMLE(temperature=0.7)(in_one_list(s, teacher))).exp()
    torch.testing.assert_close(total, torch.ones(4, dtype=torch.float64))


def test_list_mle_knows_only_the_order_and_shares_ties():
    s, teacher = tables()
    loss = ListMLE(temperature=0.5)
    torch.testing.assert_close(loss(in_one_list(s, 100 * teacher)), loss(in_one_list(s, teacher)))
    torch.testing.assert_close(loss(in_one_list(s, teacher.exp())), loss(in_one_list(s, teacher)))
    tied = torch.tensor([[2.0, 1.0, 1.0, 0.0, 0.0]] * 5, dtype=torch.float64)
    got, x = loss(in_one_list(s, tied)), (s / 0.5).detach()
    want = [x[:, open_].logsumexp(1) - x[:, j] for j, open_ in enumerate([[0, 1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4], [3, 4], [3, 4]])]
    torch.testing.assert_close(got, sum(want))


def test_list_kl_is_the_authors_listwise_distillation():
    case = Case("cadet__rank_loss-contrastive_loss__base")
    q, p, scores = case.leaf("q"), case.leaf("p"), case.array("in_scores")
    lists = p.reshape(4, 5, -1)
    own = torch.arange(4)
    owners = own.repeat_interleave(4)
    pairs = Pairs.aligned(q, lists[:, 0]).with_negatives(lists[:, 1:].flatten(0, 1))
    taught = Channel(torch.ones(4, 1, dtype=torch.float64), torch.cat([scores[:, 0], scores[:, 1:].flatten()])[:, None], Dot())
    pairs = replace(pairs, rows={"list": own}, cols={"list": torch.cat([own, owners])}, channels={"teacher": taught})
    loss = ListKL(temperature=0.05, teacher_temperature=0.3)(pairs).mean()
    torch.testing.assert_close(loss, case.array("out_listwise"), **EXACT)
    # the authors' other term: a passage with the positive's id, or of the list and scored above 0.6 of it, is no negative
    ids = case.array("in_ids")
    flat = torch.cat([ids[:, 0], ids[:, 1:].flatten()])
    likely = [set(ids[i][scores[i] > 0.6 * scores[i, 0]].tolist()) | {int(ids[i, 0])} for i in range(4)]
    keep = torch.tensor([[j == i or int(flat[j]) not in likely[i] for j in range(20)] for i in range(4)])
    logits = (q @ torch.cat([lists[:, 0], lists[:, 1:].flatten(0, 1)]).T / 0.01).masked_fill(~keep, -torch.inf)
    case.agrees((logits.logsumexp(1) - logits.diagonal()).mean(), q=q, p=p)


def test_list_kl_by_a_loop_and_its_limits():
    s, teacher = tables()
    got = ListKL(temperature=0.4, teacher_temperature=0.7)(in_one_list(s, teacher))
    p, r = (teacher / 0.7).softmax(1), (s / 0.4).softmax(1).detach()
    for i in range(5):
        assert math.isclose(got[i].item(), sum(float(p[i, j] * (p[i, j] / r[i, j]).log()) for j in range(5)), rel_tol=1e-9)
    assert ListKL(temperature=0.3, teacher_temperature=0.3)(in_one_list(s, s.detach())).abs().max() < 1e-12
    favourite = torch.eye(5, dtype=torch.float64)  # a cold teacher names one candidate: InfoNCE over the list
    cold = ListKL(temperature=0.4, teacher_temperature=1e-3)(in_one_list(s, favourite))
    torch.testing.assert_close(cold, InfoNCE(temperature=0.4)(in_one_list(s, favourite)))


def test_the_divergence_over_a_bank_is_distilled_less_the_teachers_entropy():
    """SCT's two terms: reference view A teaches online view B over the bank of A, and the other way round."""
    case = Case("sct__SCTLoss_distillation__base")
    a, b = case.leaves("a", "b")
    total = 0.0
    for online, r, bank in ((b, "r_a", "queue_a"), (a, "r_b", "queue_b")):
        reference = case.array(f"in_{r}")
        keys = torch.cat([reference, case.array(f"in_{bank}")])
        pairs = Pairs(normalize(online, dim=1), keys, Diagonal(0, 5), channels={"teacher": Channel(reference, keys, Dot())})
        target = (reference @ keys.T / 0.04).log_softmax(1)
        cross = Distilled(temperature=0.05, teacher_temperature=0.04, share=1.0)(pairs).mean()
        total = total + cross + (target.exp() * target).sum(1).mean()
    case.agrees(total, a=a, b=b)


def test_margin_mse_by_a_loop_and_blind_to_shifts():
    s, teacher = tables()
    got = MarginMSE()(in_one_list(s, teacher))
    for i in range(5):
        gaps = [(s[i, i] - s[i, j] - teacher[i, i] + teacher[i, j]).item() ** 2 for j in range(5) if j != i]
        assert math.isclose(got[i].item(), sum(gaps) / 4, rel_tol=1e-10)
    torch.testing.assert_close(MarginMSE()(in_one_list(s + 7, teacher - 3)), got)


def test_ragged_lists():
    """Three rows with lists of 3, 1 and 2 candidates: each as if it were alone; one candidate is no order."""
    gen = torch.Generator().manual_seed(0)
    q, k, neg = (torch.randn(n, 4, generator=gen, dtype=torch.float64) for n in (3, 3, 3))
    own, owner = torch.arange(3), torch.tensor([0, 0, 2])
    u = torch.randn(6, 1, generator=gen, dtype=torch.float64)
    pairs = replace(
        Pairs.aligned(q, k, score=Cosine()).with_negatives(neg),
        rows={"list": own},
        cols={"list": torch.cat([own, owner])},
        channels={"teacher": Channel(torch.ones(3, 1, dtype=torch.float64), u, Dot())},
    )
    found = lists_of(pairs, "test")
    assert found.cols.tolist() == [[0, 3, 4], [1, -1, -1], [2, 5, -1]] and found.compares.tolist() == [True, False, True]
    s = normalize(q, dim=1) @ normalize(torch.cat([k, neg]), dim=1).T
    for row, cols in ((0, [0, 3, 4]), (2, [2, 5])):
        mine, theirs = s[row, cols], u[cols, 0]
        kl = ((theirs / 0.3).softmax(0) * ((theirs / 0.3).log_softmax(0) - (mine / 0.05).log_softmax(0))).sum()
        ordered = (mine / 0.05)[theirs.argsort(descending=True)]
        mle = sum(ordered[m:].logsumexp(0) - ordered[m] for m in range(len(cols)))
        mse = ((mine[0] - mine[1:]) - (theirs[0] - theirs[1:])).square().mean()
        for loss, want in ((ListKL(), kl), (ListMLE(), mle), (MarginMSE(), mse)):
            torch.testing.assert_close(loss(pairs)[row], want)
            assert loss(pairs)[1].item() == 0


def test_pearson_rank_kl_and_pro_are_the_authors():
    for loss, symbol in ((Pearson(), "PearsonCorrelationLoss"), (PRO(temperature=0.05), "PROLoss")):
        case = Case(f"codiemb__{symbol}__sts")
        pred = case.leaf("pred")
        case.agrees(loss(graded(pred, case.array("in_gold"))).mean(), pred=pred)
    case = Case("codiemb__RankKLDivergenceLoss__sts")
    pred = case.leaf("pred")
    loss = RankKL(temperature=0.05)(graded(pred, case.array("in_gold"))).mean()
    near = {"rtol": 2e-7, "atol": 2e-7}  # the authors' target goes through float32
    torch.testing.assert_close(loss, case.array("out_loss"), **near)
    torch.testing.assert_close(torch.autograd.grad(loss, pred)[0], case.array("grad_pred"), rtol=1e-6, atol=1e-6)


def test_the_catalogues_example_of_graded_pairs():
    c = torch.tensor([0.9, 0.2, 0.5, 0.7, 0.4], dtype=torch.float64)
    pairs = graded(c, torch.tensor([5.0, 1.0, 3.0, 3.0, 0.0], dtype=torch.float64))  # two equal grades
    for loss, want in ((Pearson(), 0.1361105541), (RankKL(), 0.003152192), (PRO(), 1.0051564071)):
        assert math.isclose(loss(pairs).mean().item(), want, rel_tol=1e-5), loss


def test_invariances_of_graded_losses():
    c, y = tables(6)[0][0], torch.tensor([3.0, 1.0, 4.0, 1.5, 9.0, 2.0], dtype=torch.float64)
    loss = lambda part, c=c, y=y: part(graded(c, y)).mean()  # noqa: E731
    torch.testing.assert_close(loss(Pearson(), 3 * c + 2, 5 * y - 1), loss(Pearson()))
    torch.testing.assert_close(loss(RankKL(), y=y.exp()), loss(RankKL()))
    assert loss(RankKL(), y=y.flip(0)) != loss(RankKL())
    two = loss(PRO(temperature=0.5), c[:2], y[:2]) * 1.0
    torch.testing.assert_close(two, torch.nn.functional.softplus(-(y[0] - y[1]) * (c[0] - c[1]) / 0.5))


def test_equal_scores_have_no_correlation_and_no_gradient():
    flat = torch.full((4,), 0.5, requires_grad=True)
    value = Pearson()(graded(flat, torch.arange(4.0))).mean()
    assert value.item() == 1 and torch.autograd.grad(value, flat)[0].abs().max() == 0


@pytest.mark.parametrize("loss", [Pearson(), RankKL(), PRO()], ids=lambda x: type(x).__name__)
def test_graded_losses_refuse_what_has_no_order(loss):
    with pytest.raises(DataError, match=r"each pair needs a grade.*use views = scored"):
        loss(Pairs.aligned(torch.eye(3), torch.eye(3)))
    with pytest.raises(DegenerateBatchError, match=r"all grades of the batch are equal \(got 2.0\)"):
        loss(graded(torch.arange(3.0), torch.full((3,), 2.0)))


@pytest.mark.parametrize("loss", [ListKL(), ListMLE(), MarginMSE()], ids=lambda x: type(x).__name__)
def test_list_losses_refuse_what_is_no_list(loss):
    s, teacher = tables(3)
    pairs = in_one_list(s.detach(), teacher)
    with pytest.raises(DataError, match=r"a list of candidates of its own; use views = candidate_lists"):
        loss(replace(pairs, rows={}))
    with pytest.raises(DataError, match="must have a channel 'teacher'"):
        loss(replace(pairs, channels={}))
    alone = {"list": torch.arange(3)}
    with pytest.raises(DegenerateBatchError, match="no list has two candidates"):
        loss(replace(pairs, rows=alone, cols=alone))
    with pytest.raises(DataError, match="gather instead"):
        loss(replace(pairs, ring=Ring(0, (0, 3), (0, 3))))


def test_views_of_lists_and_grades():
    rows = [
        {"anchor": f"a{i}", "positive": f"p{i}", "negative": [f"n{i}{j}" for j in range(i)], "score": [3.0, *range(i)]} for i in range(3)
    ]
    part = CandidateLists()
    batch = part(rows)
    assert batch.meta["keys.score"].tolist() == [3.0] * 3 and batch.meta["negatives.score"].tolist() == [0.0, 0.0, 1.0]
    pairs = part.pairs({side: torch.randn(len(items), 4) for side, items in batch.items.items()}, batch.meta, Dot())
    found = lists_of(pairs, "test")
    assert found.cols.tolist() == [[0, -1, -1], [1, 3, -1], [2, 4, 5]]
    assert found.teacher.tolist() == [[3.0, 0.0, 0.0], [3.0, 0.0, 0.0], [3.0, 0.0, 1.0]]
    with pytest.raises(DataError, match=r"row 2 of the batch must have one positive and 3 scores.*got 1"):
        part([*rows[:2], {**rows[2], "score": [1.0]}])
    graded_rows = [{"anchor": "a", "positive": "b", "score": 0.5}, {"anchor": "c", "positive": "d", "score": 2}]
    batch = Scored()(graded_rows)
    pairs = Scored().pairs({side: torch.randn(2, 4) for side in batch.items}, batch.meta, Dot())
    assert pairs.rows["score"].tolist() == [0.5, 2.0]
    with pytest.raises(DataError, match="the grade of row 1 of the batch must be a number"):
        Scored()([graded_rows[0], {**graded_rows[1], "score": "high"}])
