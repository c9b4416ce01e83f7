"""Values and gradients of official code (tests/golden), in float64."""

import math

import pytest
import torch

from dipole import Pairs
from dipole.losses import DCL, AlignUniform, InfoNCE, SigLIP, SupCon
from dipole.pairwise import Sum, reduce
from dipole.pairwise.scores.cosine import Cosine
from dipole.pairwise.scores.max_sim import MaxSim
from tests.golden_case import GOLDEN, Case


@pytest.mark.parametrize("scale", [10, 100])
def test_two_sided_infonce_is_open_clips(scale):
    case = Case(f"align__ClipLoss__scale{scale}")
    image, text = case.leaf("image"), case.leaf("text")
    case.agrees(InfoNCE(temperature=1 / scale, two_sided=True)(Pairs.aligned(image, text)).mean(), image=image, text=text)


def test_infonce_is_simcse():
    case = Case("simcse__cl_forward__unsup")
    z, z_pos = case.leaf("z"), case.leaf("z_pos")
    case.agrees(InfoNCE(temperature=0.05)(Pairs.aligned(z, z_pos, score=Cosine())).mean(), z=z, z_pos=z_pos)


def test_infonce_with_negatives_is_supervised_simcse():
    case = Case("simcse__cl_forward__sup")
    z, z_pos, z_neg = (case.leaf(n) for n in ("z", "z_pos", "z_neg"))
    pairs = Pairs.aligned(z, z_pos, score=Cosine()).with_negatives(z_neg)
    case.agrees(InfoNCE(temperature=0.05)(pairs).mean(), z=z, z_pos=z_pos, z_neg=z_neg)


def both_views(a, b, score=None):
    """Queries a; candidates b and the other queries."""
    return Pairs.aligned(a, b, score=score).with_negatives(a, copy_of=torch.arange(len(a)))


def test_dcl_one_direction():
    case = Case("dcl__DCL__base")
    z1, z2 = case.leaf("z1"), case.leaf("z2")
    case.agrees(DCL(temperature=0.1)(both_views(z1, z2)).mean(), z1=z1, z2=z2)


def test_dcl_both_directions_is_lightlys():
    case = Case("dcl__DCLLoss__lightly")
    z1, z2 = case.leaf("z1"), case.leaf("z2")
    loss = DCL(temperature=0.1)
    both = loss(both_views(z1, z2, Cosine())).mean() + loss(both_views(z2, z1, Cosine())).mean()
    case.agrees(both / 2, z1=z1, z2=z2)


@pytest.mark.parametrize(("stem", "labelled"), [("labels_all", True), ("simclr", False)])
def test_supcon_is_the_authors(stem, labelled):
    case = Case(f"supcon__SupConLoss__{stem}")
    features = case.leaf("features")
    labels = case.leaf("labels") if labelled else torch.arange(len(features))
    views = features.shape[1]
    pairs = Pairs.labelled(features.transpose(0, 1).reshape(-1, features.shape[2]), labels.repeat(views))
    case.agrees(SupCon(temperature=0.1)(pairs).mean() * 0.1 / 0.07, features=features)


@pytest.mark.parametrize("stem", ["t10_b-10", "t1_b0"])
def test_siglip_is_open_clips(stem):
    case = Case(f"siglip__SigLipLoss__{stem}")
    image, text, t = case.leaf("image"), case.leaf("text"), float(case.arrays["in_t"])
    loss = SigLIP(temperature=1 / t, bias=float(case.arrays["in_b"])).double()
    value = loss(Pairs.aligned(image, text)).mean()
    case.agrees(value, image=image, text=text)
    loss(Pairs.aligned(image, text)).mean().backward()
    # learned as log t: d/d log t = t d/dt; its starting value went through float32
    torch.testing.assert_close(loss.log_scale.grad, torch.from_numpy(case.arrays["grad_t"]) * t, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(loss.offset.grad, torch.from_numpy(case.arrays["grad_b"]), rtol=1e-5, atol=1e-7)


def test_align_uniform_is_the_authors():
    case = Case("align-uniform__align_loss-uniform_loss__t2")
    x, y = case.leaf("x"), case.leaf("y")
    case.agrees(AlignUniform()(Pairs.aligned(x, y)).mean(), x=x, y=y)


def test_mean_max_sim_is_filip_with_pads_masked():
    case = Case("wukong__token_wise_similarity__filip")
    x, y = torch.from_numpy(case.arrays["in_x"]), torch.from_numpy(case.arrays["in_y"])
    images = (x, torch.ones(x.shape[:2], dtype=torch.bool))
    texts = (y, torch.from_numpy(case.arrays["in_valid_y"]))
    for queries, keys, want in ((images, texts, case.arrays["paper_s_I"]), (texts, images, case.arrays["paper_s_T"].T)):
        pairs = Pairs.aligned(queries, keys, score=MaxSim(mean=True))
        got = [reduce(lambda t, j=j: t.scores * (t.col_index == j), pairs, s=Sum("rows")).s for j in range(len(x))]
        torch.testing.assert_close(torch.stack(got, dim=1), torch.from_numpy(want))


def test_every_golden_file_is_listed_and_used():
    texts = [p.read_text() for p in GOLDEN.parent.rglob("test_*.py")]
    files = {p.stem for p in GOLDEN.glob("*.npz")}
    assert files == set((GOLDEN.parent / "expected" / "golden.txt").read_text().split())
    unused = [f for f in files if not any(all(part in text for part in f.split("__")[:2]) for text in texts)]
    assert unused == []


def test_probe_value_of_siglip_in_the_catalogue():
    n = torch.arange(12, dtype=torch.float64).reshape(4, 3)
    q, k = (torch.nn.functional.normalize(x, dim=1) for x in (torch.sin(1 + n), torch.cos(1 + 2 * n)))
    value = SigLIP(temperature=0.1, bias=-10.0).double()(Pairs.aligned(q, k)).mean()
    assert math.isclose(value.item(), 10.1611443144, rel_tol=1e-6)
