"""What ``Pairs`` accepts, refuses and answers."""

import math
from dataclasses import replace

import pytest
import torch

from dipole import Pairs
from dipole.core.errors import DataError, DegenerateBatchError
from dipole.core.ranks import Ring
from dipole.core.relations import Diagonal
from dipole.losses import DCL, AlignUniform, InfoNCE, SupCon
from dipole.pairwise import Channel, LogSumExp, Sum, reduce
from dipole.pairwise.scores.bilinear import Bilinear
from dipole.pairwise.scores.max_sim import MaxSim
from dipole.pairwise.scores.neg_squared_distance import NegSquaredDistance
from dipole.pairwise.scores.pair_function import PairFunction
from dipole.pairwise.scores.scaled_cosine import ScaledCosine

Q, K = torch.randn(3, 4), torch.randn(3, 4)


def test_an_entry_listed_twice_counts_once_and_adds_its_weights():
    pairs = Pairs.weighted(Q, K, torch.tensor([0, 0, 1]), torch.tensor([1, 1, 2]), torch.tensor([1.0, 2.0, 1.0]))
    assert pairs.positives_per_row().tolist() == [1, 1, 0]
    weights = reduce(lambda t: t.weight, pairs, w=Sum("rows")).w
    assert weights.tolist() == [3.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Pairs.weighted(Q, K, torch.tensor([0]), torch.tensor([3]), torch.tensor([1.0])), "col must be from 0 to 2"),
        (lambda: Pairs.weighted(Q, K, torch.tensor([0]), torch.tensor([0]), torch.tensor([-1.0])), "at least 0"),
        (lambda: Pairs.weighted(Q, K, torch.tensor([0]), torch.tensor([0]), torch.tensor([1.0], requires_grad=True)), "not learned"),
        (lambda: Pairs.aligned(Q, K[:2]), "every query needs the key"),
        (lambda: Pairs.aligned(Q[:0], K), "at least one vector"),
        (lambda: Pairs.aligned(Q, K).with_negatives(K, owner=torch.tensor([0, 1, 3])), "owner must be rows from -1 to 2"),
        (lambda: Pairs.aligned(Q, K).with_negatives(K, owner=torch.tensor([0])), r"owner must be one value each, shape \(3,\)"),
        (lambda: Pairs.aligned(Q, K).with_negatives(torch.randn(2, 5)), "keys' dimensions"),
        (lambda: Pairs(Q, K, Diagonal(0, 3), cols={"w": torch.rand(3)}).with_negatives(K), "what is 'w' of the new columns"),
        (lambda: Pairs(Q, K, Diagonal(0, 4), ring=Ring(0, (0, 4), (0, 4))), "rows and columns of its spans"),
        (lambda: Pairs(Q, K, Diagonal(0, 6), ring=Ring(0, (0, 3, 6), (0, 3, 6))).with_negatives(K), "a ring's columns"),
        (lambda: InfoNCE()(Pairs.aligned(Q[:2], K).reversed()), "some rows have no positive"),
        (lambda: DCL()(Pairs.aligned(Q, K, key_ids=torch.zeros(3, dtype=torch.long))), "no negative that counts"),
        (lambda: AlignUniform()(Pairs.aligned(Q[:1], K)), "at least one negative"),
    ],
)
def test_what_cannot_be_is_refused(make, says):
    with pytest.raises((DataError, DegenerateBatchError), match=says):
        make()


def test_metadata_of_new_columns_can_be_given():
    pairs = Pairs(Q, K, Diagonal(0, 3), cols={"w": torch.rand(3)}).with_negatives(K, cols={"w": torch.ones(3)})
    assert pairs.cols["w"][3:].tolist() == [1, 1, 1]


def test_own_rows_without_positives_do_not_stop_the_others():
    """With gathered vectors one rank's rows may all be alone; it must go on with the others, not raise by itself."""
    z = torch.randn(4, 3)
    whole = Pairs.labelled(z, torch.tensor([0, 0, 1, 2]))
    values = SupCon()(whole)
    own = Pairs(z, z, whole.positive, excluded=whole.excluded, local=(slice(2, 4), slice(2, 4)))
    torch.testing.assert_close(SupCon()(own), values[2:])


def test_autocast_does_not_reach_the_positive_of_a_token_score():
    tokens = (torch.randn(5, 6, 8), torch.ones(5, 6, dtype=torch.bool))
    pairs = Pairs.aligned(tokens, tokens, score=MaxSim())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = InfoNCE(temperature=1.0)(pairs)
    torch.testing.assert_close(got, InfoNCE(temperature=1.0)(pairs))


def test_a_learned_temperature_comes_back_from_its_bound():
    score = ScaledCosine(initial_temperature=0.07, min_temperature=0.01)
    torch.nn.init.constant_(score.log_scale, 4.7)
    assert score.temperature.item() == pytest.approx(0.01)
    torch.manual_seed(0)
    InfoNCE(temperature=1.0)(Pairs.aligned(torch.randn(8, 4), torch.randn(8, 4), score=score)).mean().backward()
    assert score.log_scale.grad.abs() > 0


def test_reversed_is_its_own_inverse():
    pairs = Pairs.aligned(Q, K).with_negatives(K, owner=torch.tensor([0, 1, -1]))
    there = InfoNCE()(pairs)
    torch.testing.assert_close(InfoNCE()(pairs.reversed().reversed()), there)


def log_weights(n: int, m: int) -> Channel:
    """A channel that is a weight: log(1 + i + 2j) of row i and column j, from one number an item."""
    rows, cols = torch.arange(float(n)), torch.arange(float(m))
    return Channel(rows, cols, PairFunction(lambda r, c: torch.log(1 + r[0][:, None] + 2 * c[0][None, :])))


def test_weights_multiply_the_exponentials_of_negatives_and_spare_positives():
    pairs = replace(Pairs.aligned(Q, K), channels={"w": log_weights(3, 3)}, weighing=("w",))
    values, dcl = InfoNCE(temperature=0.5)(pairs), DCL(temperature=0.5)(pairs)
    for i in range(3):
        e = [math.exp(float(Q[i] @ K[j]) / 0.5) * (1 if i == j else 1 + i + 2 * j) for j in range(3)]
        assert values[i].item() == pytest.approx(math.log(sum(e) / e[i]), rel=1e-5, abs=1e-6)
        assert dcl[i].item() == pytest.approx(math.log((sum(e) - e[i]) / e[i]), rel=1e-5, abs=1e-6)


def test_channels_turn_and_grow_with_the_pairs():
    pairs = replace(Pairs.aligned(Q, K), channels={"w": log_weights(3, 3)})
    read = lambda p: reduce(lambda t: t.channels["w"].exp(), p, s=Sum("rows")).s.tolist()  # noqa: E731
    assert read(pairs) == pytest.approx([9, 12, 15])
    assert read(pairs.reversed()) == pytest.approx([6, 12, 18])
    wider = pairs.with_negatives(K[:2], channels={"w": torch.tensor([10.0, 20.0])})
    assert read(wider) == pytest.approx([9 + 62, 12 + 64, 15 + 66])
    assert read(wider.answers()) == pytest.approx([6, 12, 18])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: replace(Pairs.aligned(Q, K), channels={"w": log_weights(3, 2)}), r"channel 'w' must have one vector per query and key"),
        (lambda: replace(Pairs.aligned(Q, K), channels={"w": log_weights(3, 3)}).with_negatives(K), "new columns in channel 'w'"),
        (lambda: Pairs.labelled(Q, torch.tensor([0, 0, 1])).answers(), "answers needs aligned pairs"),
        (lambda: Pairs(Q, K, Diagonal(1, 2)).answers(), "row i's positive must be column i"),
    ],
)
def test_what_channels_and_answers_refuse(make, says):
    with pytest.raises(DataError, match=says):
        make()


def test_answers_are_the_keys_that_are_positives():
    q, k, more = (torch.randn(n, 4, dtype=torch.float64) for n in (3, 3, 2))
    back = Pairs.aligned(q, k, key_ids=torch.tensor([5, 5, 6])).with_negatives(more).answers()
    assert back.shape == (3, 3)
    want = torch.stack([torch.logsumexp(k[i] @ q[[j for j in range(3) if j == i or {i, j} != {0, 1}]].T, 0) for i in range(3)])
    torch.testing.assert_close(reduce(lambda t: t.scores, back, z=LogSumExp("rows")).z, want)


def test_reversed_pairs_are_the_transposed_matrix_whatever_the_score():
    q, k = torch.randn(4, 3, 5, dtype=torch.float64), torch.randn(4, 2, 5, dtype=torch.float64)
    tokens = (q, torch.ones(4, 3, dtype=torch.bool)), (k, torch.ones(4, 2, dtype=torch.bool))
    vectors = torch.randn(4, 5, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
    bilinear = Bilinear(5, 5).double()
    torch.nn.init.normal_(bilinear.weight)
    for sides, score in ((tokens, MaxSim()), (vectors, bilinear), (vectors, NegSquaredDistance()), (vectors, None)):
        pairs = Pairs.aligned(*sides, score=score)
        stats = reduce(lambda t: t.scores, pairs, z=LogSumExp("cols"))
        torch.testing.assert_close(reduce(lambda t: t.scores, pairs.reversed(), z=LogSumExp("rows")).z, stats.z)
        torch.testing.assert_close(pairs.reversed().positive_scores(), pairs.positive_scores())
        torch.testing.assert_close(reduce(lambda t: t.scores, pairs.reversed().reversed(), z=LogSumExp("cols")).z, stats.z)
