"""What would prove each loss right beyond the golden numbers: loops over pairs, and the papers' own claims."""

import math

import pytest
import torch

from dipole import Pairs
from dipole.core.errors import DataError, DegenerateBatchError, ParameterError
from dipole.losses import DCL, AlignUniform, InfoNCE, SigLIP, SupCon


def sides(n=7, m=None, d=5, seed=0):
    gen = torch.Generator().manual_seed(seed)
    make = lambda r: torch.randn(r, d, generator=gen, dtype=torch.float64).requires_grad_()  # noqa: E731
    return make(n), make(m or n)


def test_infonce_by_a_double_loop():
    q, k = sides(5, 8)
    got = InfoNCE(temperature=0.3)(Pairs.aligned(q, k))
    for i in range(5):
        scores = [float(q[i].detach() @ k[j].detach()) / 0.3 for j in range(8)]
        assert math.isclose(got[i].item(), math.log(sum(math.exp(s) for s in scores)) - scores[i], rel_tol=1e-12)


def test_infonce_two_sided_is_the_mean_of_both_directions():
    q, k = sides()
    both = InfoNCE(temperature=0.3, two_sided=True)(Pairs.aligned(q, k))
    there, back = (InfoNCE(temperature=0.3)(Pairs.aligned(a, b)) for a, b in ((q, k), (k, q)))
    torch.testing.assert_close(both, (there + back) / 2)


def test_infonce_of_equal_scores_is_log_of_the_candidates():
    same = torch.ones(6, 3)
    assert InfoNCE()(Pairs.aligned(same, same)).tolist() == pytest.approx([math.log(6)] * 6, rel=1e-6)


def test_hard_negatives_join_the_denominator_of_their_own_row_only():
    q, k = sides()
    hard = torch.randn(3, 5, dtype=torch.float64)
    owner = torch.tensor([0, 0, 4])
    got = InfoNCE(temperature=1.0)(Pairs.aligned(q, k).with_negatives(hard, owner))
    for i in range(7):
        candidates = torch.cat([k, hard[owner == i]])
        assert math.isclose(got[i].item(), ((q[i] @ candidates.T).logsumexp(0) - q[i] @ k[i]).item(), rel_tol=1e-12)


def test_copies_of_the_positive_are_no_negatives():
    q, k = sides()
    k = torch.cat([k[:6], k[:1]])  # key 6 is key 0 again
    ids = torch.tensor([10, 11, 12, 13, 14, 15, 10])
    got = InfoNCE(temperature=1.0)(Pairs.aligned(q, k, key_ids=ids))
    for i, left_out in ((0, 6), (6, 0)):
        rest = [j for j in range(7) if j != left_out]
        assert math.isclose(got[i].item(), ((q[i] @ k[rest].T).logsumexp(0) - q[i] @ k[i]).item(), rel_tol=1e-12)


def test_the_papers_claim_about_dcl():
    """grad InfoNCE_i = (1 - P_ii) grad DCL_i."""
    q, k = sides()
    pairs = Pairs.aligned(q, k)
    for i in range(7):
        info = torch.autograd.grad(InfoNCE(temperature=0.5)(pairs)[i], [q, k])
        dcl = torch.autograd.grad(DCL(temperature=0.5)(pairs)[i], [q, k])
        p = ((q @ k.T) / 0.5).softmax(1)[i, i].detach()
        for a, b in zip(info, dcl, strict=True):
            torch.testing.assert_close(a, (1 - p) * b)


def test_supcon_by_a_double_loop():
    z, _ = sides(8)
    labels = torch.tensor([0, 1, 0, 2, 1, 0, 3, -1])
    got = SupCon(temperature=0.4)(Pairs.labelled(z, labels))
    s = (z @ z.T).detach() / 0.4
    for i in range(8):
        others = [a for a in range(8) if a != i]
        mates = [p for p in others if labels[p] == labels[i] and labels[i] >= 0]
        normaliser = math.log(sum(math.exp(s[i, a]) for a in others))
        want = sum(normaliser - float(s[i, p]) for p in mates) / len(mates) if mates else 0.0
        assert math.isclose(got[i].item(), want, rel_tol=1e-12, abs_tol=1e-12)


def test_supcon_with_one_positive_a_row_is_infonce():
    q, k = sides()
    own = torch.arange(7)
    torch.testing.assert_close(SupCon(temperature=0.2)(Pairs.grouped(q, k, own, own)), InfoNCE(temperature=0.2)(Pairs.aligned(q, k)))


def test_supcon_of_one_collapsed_class_is_log_of_the_others():
    same = torch.ones(6, 3)
    values = SupCon()(Pairs.labelled(same, torch.zeros(6, dtype=torch.long)))
    assert values.tolist() == pytest.approx([math.log(5)] * 6, rel=1e-5)


def test_supcon_row_without_a_positive_pulls_nothing():
    z, _ = sides(3)
    values = SupCon(temperature=1.0)(Pairs.labelled(z, torch.tensor([0, 0, 1])))
    assert values[2].item() == 0
    assert torch.autograd.grad(values[2], z)[0].abs().max() == 0


def test_siglip_by_a_double_loop():
    q, k = sides(4, 6)
    got = SigLIP(temperature=0.5, bias=-1.0).double()(Pairs.aligned(q, k))
    for i in range(4):
        terms = [math.log1p(math.exp((-1 if i == j else 1) * (float(q[i].detach() @ k[j].detach()) * 2 - 1))) for j in range(6)]
        assert math.isclose(got[i].item(), sum(terms), rel_tol=1e-6)


def test_siglip_at_zero_similarity():
    zero = torch.zeros(8, 3)
    sp = lambda x: math.log1p(math.exp(x))  # noqa: E731
    for b in (0.0, -10.0):
        value = SigLIP(temperature=0.1, bias=b)(Pairs.aligned(zero, zero)).mean().item()
        assert math.isclose(value, sp(-b) + 7 * sp(b), rel_tol=1e-5)


def test_uniformity_of_known_configurations():
    loss = AlignUniform(align_weight=0, sharpness=2.0)
    antipodes = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert loss(Pairs.aligned(antipodes, antipodes)).tolist() == pytest.approx([-8.0] * 2)
    assert loss(Pairs.aligned(torch.ones(5, 2), torch.ones(5, 2))).tolist() == pytest.approx([0.0] * 5, abs=1e-6)


def test_uniformity_alone_finds_the_icosahedron():
    """Twelve free points on a sphere: the minimum of the potential, log mean over 66 pairs = -2.97145 (known result)."""
    torch.manual_seed(0)
    free = torch.randn(12, 3, dtype=torch.float64, requires_grad=True)
    loss, step = AlignUniform(align_weight=0), torch.optim.Adam([free], lr=0.02)
    for _ in range(600):
        step.zero_grad()
        z = torch.nn.functional.normalize(free, dim=1)
        value = loss(Pairs.aligned(z, z)).mean()
        value.backward()
        step.step()
    assert abs(value.item() + 2.97145) < 1e-3
    cosines = (z @ z.T).detach().fill_diagonal_(-1)
    assert abs(math.degrees(math.acos(cosines.max().item())) - 63.43) < 0.5


@pytest.mark.parametrize("loss", [InfoNCE(), DCL(), AlignUniform()], ids=lambda loss: type(loss).__name__)
def test_a_batch_of_one_is_refused(loss):
    with pytest.raises(DegenerateBatchError, match=r"at least one negative.*raise batch_size"):
        loss(Pairs.aligned(torch.ones(1, 3), torch.ones(1, 3)))


def test_supcon_without_any_positive_is_refused():
    with pytest.raises(DegenerateBatchError, match=r"no row of the batch has a positive.*shared labels"):
        SupCon()(Pairs.labelled(torch.ones(3, 2), torch.tensor([0, 1, 2])))


@pytest.mark.parametrize("make", [InfoNCE, SupCon, DCL, SigLIP])
@pytest.mark.parametrize("value", [0, -1.0, math.nan, "warm"])
def test_a_temperature_must_be_positive(make, value):
    with pytest.raises(ParameterError, match="temperature must be a number above 0"):
        make(temperature=value)


def test_labels_of_the_wrong_length_are_refused():
    with pytest.raises(DataError, match="labels must be one value each"):
        Pairs.labelled(torch.ones(3, 2), torch.tensor([0, 1]))


def test_infonce_refuses_several_positives_by_name():
    with pytest.raises(DataError, match="aligned pairs"):
        InfoNCE()(Pairs.labelled(torch.randn(4, 2), torch.tensor([0, 0, 1, 1])))
