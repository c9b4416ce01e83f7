"""SepCLR's terms and classification: the authors' code, double loops, cross-entropy by PyTorch."""

import math

import pytest
import torch
import torch.nn.functional as F

from dipole.core.encoded import Encoded
from dipole.core.errors import DataError, DegenerateBatchError, ParameterError
from dipole.core.pairs import Pairs
from dipole.losses import AlignUniform
from dipole.regularizers import AttributeAlignment, CrossEntropy, JointEntropy, MeanEntropy, Salient
from tests.golden_case import Case


def test_sepclrs_terms_are_the_authors():
    case = Case("sepclr__align-uniform-joint_entropy-sup_align__tau05")
    c, s, a = case.leaf("c"), case.leaf("s"), case.array("in_a")
    side = {"queries": Encoded(c, meta={"salient": s, "attribute": a})}
    case.agrees(JointEntropy(width=case.hyper["tau"]).over_encoded(side), c=c, s=s)
    attribute = AttributeAlignment(width=case.hyper["sup_align_tau"]).over_encoded(side)
    torch.testing.assert_close(attribute, case.array("out_sup_align"), rtol=1e-6, atol=1e-12)
    common = AlignUniform(sharpness=1 / (2 * case.hyper["tau"]), uniform_weight=0.0)(Pairs.aligned(c, case.array("in_c2"))).mean()
    torch.testing.assert_close(common, case.array("out_align"), rtol=1e-6, atol=0)
    spread = AlignUniform(sharpness=1 / (2 * case.hyper["tau"]), align_weight=0.0)(Pairs.aligned(c, c)).mean()
    torch.testing.assert_close(spread, case.array("out_uniform"), rtol=1e-6, atol=0)


def codes(n=7):
    gen = torch.Generator().manual_seed(0)
    return [torch.randn(n, 3, generator=gen, dtype=torch.float64) for _ in range(4)]


def test_joint_entropy_by_a_double_loop():
    c, s, _, _ = codes()
    labels = torch.tensor([0, 1, 1, 0, 1, 1, 1])
    kept = s * labels[:, None]
    near = lambda x, i, j: float((x[i] - x[j]).square().sum())  # noqa: E731
    rows = [math.log(sum(math.exp(-(near(c, i, j) + near(kept, i, j)) / 1.4) for j in range(7)) / 7) for i in range(7)]
    got = JointEntropy(width=0.7).over_encoded({"queries": Encoded(c, meta={"salient": s, "label": labels})})
    assert float(got) == pytest.approx(sum(rows) / 7, rel=1e-10)


def test_joint_entropy_is_highest_where_nothing_differs():
    ones, (c, _, _, _) = torch.ones(7, 2, dtype=torch.float64), codes()
    assert float(JointEntropy().over_encoded({"queries": Encoded(ones, meta={"salient": ones})})) == 0
    alone = JointEntropy().over_encoded({"queries": Encoded(c, meta={"salient": ones})})
    apart = torch.cdist(c, c).square()
    torch.testing.assert_close(alone, (-apart).exp().mean(1).log().mean())


def test_salient_by_a_double_loop():
    a, b, _, _ = codes()
    labels = torch.tensor([0, 1, 1, 0, 1, 1, 1])
    got = Salient(width=0.7, uniform=2.0, background=3.0).over_encoded(
        {k: Encoded(x, meta={"salient": x, "label": labels}) for k, x in (("queries", a), ("keys", b))}
    )
    align = sum(float((a[i] - b[i]).square().sum()) / 1.4 for i in range(7) if labels[i]) / 5
    rest = sum(float(x[i].square().sum()) / 1.4 for x in (a, b) for i in range(7) if not labels[i]) / 4

    def uniformity(x):
        z = x * labels[:, None]
        kernel = [math.exp(-float((z[i] - z[j]).square().sum()) / 1.4) for i in range(7) for j in range(i)]
        return math.log(sum(kernel) / len(kernel))

    assert float(got) == pytest.approx(align + 3 * rest + uniformity(a) + uniformity(b), rel=1e-10)


def test_the_background_gets_no_gradient_from_the_uniform_term():
    a, b, _, _ = codes()
    a.requires_grad_()
    labels = torch.tensor([0, 1, 1, 0, 1, 1, 1])
    Salient(background=0.0).over_encoded(
        {k: Encoded(x, meta={"salient": x, "label": labels}) for k, x in (("queries", a), ("keys", b))}
    ).backward()
    assert bool((a.grad[labels == 0] == 0).all()) and bool((a.grad[labels == 1] != 0).any())


@pytest.mark.parametrize("labels", [torch.zeros(3).long(), torch.ones(3).long()])
def test_salient_needs_both_sets(labels):
    side = Encoded(torch.eye(3), meta={"salient": torch.eye(3), "label": labels})
    with pytest.raises(DegenerateBatchError, match="target items and background items"):
        Salient().over_encoded({"queries": side, "keys": side})


def test_cross_entropy_is_pytorchs_with_logit_adjustment():
    logits, labels = torch.randn(6, 3, dtype=torch.float64), torch.tensor([0, 2, -1, 1, 2, 0])
    side = {"queries": Encoded(logits, logits=logits, meta={"label": labels})}
    prior = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64).log()
    got = CrossEntropy(prior=(6, 3, 1)).over_encoded(side)
    torch.testing.assert_close(got, F.cross_entropy(logits + prior, labels, ignore_index=-1), rtol=1e-6, atol=0)
    assert float(CrossEntropy(prior=(6, 3, 1), margin=0.2).over_encoded(side)) < float(got)
    assert float(CrossEntropy(prior=(60, 30, 10)).over_encoded(side)) == pytest.approx(float(got), rel=1e-6)


def test_cross_entropy_refuses_what_it_cannot_learn_from():
    side = lambda labels, n=2: {"queries": Encoded(torch.eye(n), logits=torch.eye(n), meta={"label": torch.tensor(labels)})}  # noqa: E731
    with pytest.raises(ParameterError, match="prior must be one number for each of 2 classes"):
        CrossEntropy(prior=(1, 2, 3)).over_encoded(side([0, 1]))
    with pytest.raises(ParameterError, match="prior must be a list of numbers above 0"):
        CrossEntropy(prior=(1, -2))
    with pytest.raises(DataError, match="labels must be below the number of logits, 2"):
        CrossEntropy().over_encoded(side([0, 2]))
    with pytest.raises(DegenerateBatchError, match="no item of the batch has a label"):
        CrossEntropy().over_encoded(side([-1, -1]))
    with pytest.raises(DataError, match="label must be one value each, 2"):
        CrossEntropy().over_encoded(side([0]))


def test_mean_entropy_is_least_where_predictions_cover_all_classes():
    value = lambda logits: float(MeanEntropy().over_encoded({"queries": Encoded(logits, logits=logits)}))  # noqa: E731
    assert value(50 * torch.eye(4)) == pytest.approx(-math.log(4), rel=1e-6)
    assert value(torch.zeros(3, 4)) == pytest.approx(-math.log(4), rel=1e-6)
    assert value(torch.tensor([[80.0, 0.0, 0.0]] * 3)) == pytest.approx(0.0, abs=1e-6)
    with pytest.raises(DataError, match="reads logits, but the encoder returns none"):
        MeanEntropy().over_encoded({"queries": Encoded(torch.eye(2))})
