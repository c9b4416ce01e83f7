"""Margins and rankings of single pairs: double loops, closed forms, official values, and pytorch-metric-learning as a second witness."""

import math
from dataclasses import replace

import pytest
import torch

from dipole import Pairs
from dipole.core.errors import DataError, DegenerateBatchError, ParameterError
from dipole.core.relations import Owned
from dipole.losses import BatchHard, HardestHinge, Hinge, InfoNCE, MarginPair, PairwiseLogistic, SemiHardTriplet
from dipole.pairwise.scores.cosine import Cosine
from dipole.pairwise.scores.distance_power import DistancePower
from dipole.pairwise.scores.neg_squared_distance import NegSquaredDistance
from tests.golden_case import Case


def sides(n=7, m=None, d=5, seed=0):
    gen = torch.Generator().manual_seed(seed)
    make = lambda r: torch.randn(r, d, generator=gen, dtype=torch.float64).requires_grad_()  # noqa: E731
    return make(n), make(m or n)


def table(q, k):
    return (q @ k.T).tolist()


def test_hinge_by_a_double_loop():
    q, k = sides(5, 8)
    got, s = Hinge(margin=0.7)(Pairs.aligned(q, k)), table(q, k)
    for i in range(5):
        assert math.isclose(got[i].item(), sum(max(0.0, 0.7 - s[i][i] + s[i][j]) for j in range(8) if j != i), rel_tol=1e-12)


def test_two_sided_hinge_is_the_sum_of_both_directions():
    q, k = sides()
    both = Hinge(margin=0.7, two_sided=True)(Pairs.aligned(q, k))
    there, back = (Hinge(margin=0.7)(Pairs.aligned(a, b)) for a, b in ((q, k), (k, q)))
    torch.testing.assert_close(both, there + back)


def test_two_sided_hinge_leaves_columns_without_a_row_alone():
    q, k = sides(5, 8)
    both = Hinge(margin=0.7, two_sided=True)(Pairs.aligned(q, k))
    there = Hinge(margin=0.7)(Pairs.aligned(q, k))
    back = Hinge(margin=0.7)(Pairs.aligned(k[:5], q))  # columns 5 to 7 are nobody's positive, so they ask nothing
    torch.testing.assert_close(both, there + back)


def test_hinge_on_cosines_is_the_word_models():
    """arXiv:2306.08221: exact slopes, no slope beyond the margin, and no slope along a vector."""
    q, k = sides(2, 2)
    pairs = Pairs.aligned(q, k, score=Cosine())
    cos = torch.nn.functional.cosine_similarity
    for margin, violated in ((1.9, True), (1e-9, False)):
        value = Hinge(margin=margin)(pairs)[0]
        gap = margin - cos(q[0], k[0], dim=0) + cos(q[0], k[1], dim=0)
        if not violated and gap > 0:
            q, k = q, k.flip(0)  # the other assignment is the satisfied one
            value, gap = Hinge(margin=margin)(Pairs.aligned(q, k, score=Cosine()))[0], torch.zeros(())
        grad = torch.autograd.grad(value, q)[0]
        if violated:
            torch.testing.assert_close(grad[0], torch.autograd.grad(gap, q)[0][0])
            assert abs(float(grad[0] @ q[0].detach())) < 1e-12  # scaling a vector changes nothing
        else:
            assert value.item() == 0 and not grad.any()


def test_hinge_of_one_edited_question_is_the_official_one():
    case = Case("meq-dpr__BiEncoderHingeLoss__margin1.5")
    q, u = case.leaves("q", "u")
    paraphrase, edited = u[0::2], u[1::2]
    pairs = Pairs.aligned(q, paraphrase).with_negatives(edited, owner=torch.arange(5))
    own = Owned(torch.cat([torch.arange(5), torch.full((5,), -1)]))  # the paraphrases of other questions do not count
    case.agrees(Hinge(margin=1.5)(replace(pairs, excluded=(*pairs.excluded, own))).mean(), q=q, u=u)


def test_hardest_hinge_by_a_double_loop():
    q, k = sides(5, 8)
    got, s = HardestHinge(margin=0.7)(Pairs.aligned(q, k)), table(q, k)
    for i in range(5):
        assert math.isclose(got[i].item(), max(0.0, 0.7 - s[i][i] + max(s[i][j] for j in range(8) if j != i)), rel_tol=1e-12)
    both = HardestHinge(margin=0.7, two_sided=True)(Pairs.aligned(q, k[:5]))
    parts = [HardestHinge(margin=0.7)(Pairs.aligned(a, b)) for a, b in ((q, k[:5]), (k[:5], q))]
    torch.testing.assert_close(both, parts[0] + parts[1])


def test_infonce_and_ten_times_the_hardest_hinge_is_promcse():
    case = Case("promcse__cl_forward__sup_eh")
    z, z_pos, z_neg = case.leaves("z", "z_pos", "z_neg")
    pairs = Pairs.aligned(z, z_pos, score=Cosine()).with_negatives(z_neg)
    total = InfoNCE(temperature=0.05)(pairs).mean() + 10 * HardestHinge(margin=0.2)(pairs).mean()
    case.agrees(total, z=z, z_pos=z_pos, z_neg=z_neg)


def test_semi_hard_triplet_by_a_double_loop_with_its_fallback():
    q, k = sides(6)
    with torch.no_grad():
        q[0] = 100 * -k[0]  # its positive scores lowest, so no negative is semi-hard
    pairs = Pairs.aligned(q, k, score=NegSquaredDistance())
    got, d = SemiHardTriplet(margin=0.5)(pairs), torch.cdist(q, k).square().tolist()
    fell_back = 0
    for i in range(6):
        beyond = [d[i][j] for j in range(6) if j != i and d[i][j] > d[i][i]]
        fell_back += not beyond
        negative = min(beyond) if beyond else max(d[i][j] for j in range(6) if j != i)
        assert math.isclose(got[i].item(), max(0.0, 0.5 + d[i][i] - negative), rel_tol=1e-9, abs_tol=1e-9)
    assert 1 <= fell_back <= 3


def test_batch_hard_is_the_triplet_loss_of_mined_triplets():
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.miners import BatchHardMiner
    from pytorch_metric_learning.reducers import DoNothingReducer

    z, _ = sides(12)
    labels = torch.tensor([0, 0, 1, 2, 1, 0, 3, 2, 2, 4, 1, 5])
    distance = LpDistance(normalize_embeddings=False, power=1)
    mined = BatchHardMiner(distance=distance)(z, labels)
    theirs = TripletMarginLoss(margin=0.5, distance=distance, reducer=DoNothingReducer())(z, labels, mined)["loss"]["losses"]
    ours = BatchHard(margin=0.5)(Pairs.labelled(z, labels, score=DistancePower(power=1.0)))
    has = torch.tensor([labels.tolist().count(c) > 1 for c in labels.tolist()])
    torch.testing.assert_close(ours[has], theirs)
    assert not ours[~has].any() and len(theirs) == int(has.sum())


def test_margin_pair_is_the_mean_over_its_pairs():
    z, _ = sides(7)
    labels = torch.tensor([0, 0, 1, 2, 1, 0, 3])
    got, d = MarginPair(margin=2.5)(Pairs.labelled(z, labels)), torch.cdist(z, z).tolist()
    for i in range(7):
        terms = [d[i][j] ** 2 if labels[i] == labels[j] else max(0.0, 2.5 - d[i][j]) ** 2 for j in range(7) if j != i]
        assert math.isclose(got[i].item(), sum(terms) / 6, rel_tol=1e-9)


def test_beyond_the_margin_a_pair_is_left_alone():
    far = torch.tensor([[0.0, 0.0], [9.0, 0.0]], dtype=torch.float64, requires_grad=True)
    value = MarginPair(margin=1.0)(Pairs.aligned(far, far.detach() + 1e-7)).sum()
    assert value.item() < 1e-10 and torch.autograd.grad(value, far)[0].abs().max() < 1e-6


def test_pairwise_logistic_with_one_negative_is_infonce():
    q, k = sides(2)
    torch.testing.assert_close(PairwiseLogistic(temperature=0.3)(Pairs.aligned(q, k)), InfoNCE(temperature=0.3)(Pairs.aligned(q, k)))


def test_pairwise_logistic_by_a_double_loop_and_above_infonce():
    q, k = sides(5, 8)
    pairs = Pairs.aligned(q, k)
    got, s = PairwiseLogistic(temperature=0.3)(pairs), table(q, k)
    for i in range(5):
        want = sum(math.log1p(math.exp((s[i][j] - s[i][i]) / 0.3)) for j in range(8) if j != i)
        assert math.isclose(got[i].item(), want, rel_tol=1e-9)  # torch's softplus is linear above 20
    assert bool((got >= InfoNCE(temperature=0.3)(pairs)).all())


@pytest.mark.parametrize(
    "loss", [Hinge(), HardestHinge(), SemiHardTriplet(), MarginPair(), PairwiseLogistic()], ids=lambda x: type(x).__name__
)
def test_a_batch_of_one_is_refused(loss):
    with pytest.raises(DegenerateBatchError, match=r"at least one negative.*raise batch_size"):
        loss(Pairs.aligned(torch.ones(1, 3), torch.ones(1, 3)))


@pytest.mark.parametrize("loss", [Hinge(), HardestHinge(), SemiHardTriplet(), PairwiseLogistic()], ids=lambda x: type(x).__name__)
def test_several_positives_are_refused_by_name(loss):
    with pytest.raises(DataError, match="aligned pairs"):
        loss(Pairs.labelled(torch.randn(4, 2), torch.tensor([0, 0, 1, 1])))


def test_batches_without_what_is_compared_are_refused():
    with pytest.raises(DegenerateBatchError, match="BatchHard: no row of the batch has a positive"):
        BatchHard()(Pairs.labelled(torch.ones(3, 2), torch.tensor([0, 1, 2])))
    with pytest.raises(DegenerateBatchError, match="BatchHard: some rows have no negative"):
        BatchHard()(Pairs.labelled(torch.ones(3, 2), torch.tensor([0, 0, 0])))
    copies = Pairs.aligned(torch.ones(3, 2), torch.ones(3, 2), key_ids=torch.tensor([5, 5, 5]))
    with pytest.raises(DegenerateBatchError, match="SemiHardTriplet: some rows have no negative"):
        SemiHardTriplet()(copies)


@pytest.mark.parametrize("make", [Hinge, HardestHinge, SemiHardTriplet, BatchHard, MarginPair])
def test_a_margin_must_be_positive(make):
    with pytest.raises(ParameterError, match="margin must be a number above 0"):
        make(margin=-0.1)
