"""Values and gradients of official code for the losses with a softmax normaliser, in float64."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from dipole import Pairs
from dipole.core.relations import Diagonal, Listed
from dipole.losses import CWCL, DCLW, HNNCE, MACL, Distilled, FourBlock, InfoNCE, SupCon, SupConIn
from dipole.pairwise import Channel
from dipole.pairwise.scores.cosine import Cosine
from dipole.pairwise.scores.pair_function import PairFunction
from tests.golden_case import Case


def given_scores(scores):
    """Pairs whose scores are the entries of a matrix: rows of it against the columns' places."""
    return PairFunction(lambda rows, cols: rows[0] @ cols[0].T), (scores, torch.eye(scores.shape[1], dtype=scores.dtype))


@pytest.mark.parametrize("stem", ["alpha0", "alpha04"])
def test_distilled_is_albefs_image_text_contrast(stem):
    case = Case(f"albef__ALBEF.forward-ITC-part-__{stem}")
    image, text = case.leaves("image", "text")
    momentum = {side: normalize(case.array(f"in_{side}_m"), dim=1) for side in ("image", "text")}
    tau = case.hyper["temperature"]

    def one_way(live, asked, other):
        keys = torch.cat([momentum[other], case.array(f"in_{other}_queue")])
        teacher = Channel(momentum[asked], keys, Cosine())
        pairs = Pairs(live, keys, Diagonal(0, len(live)), Cosine(), channels={"teacher": teacher})
        return Distilled(temperature=tau, teacher_temperature=tau, share=case.hyper["alpha"])(pairs).mean()

    both = (one_way(image, "image", "text") + one_way(text, "text", "image")) / 2
    case.agrees(both, image=image, text=text)


def test_infonce_and_distilled_are_open_clips_distillation():
    case = Case("align__DistillClipLoss__base")
    image, text = case.leaves("image", "text")
    teacher = Channel(case.array("in_t_image"), case.array("in_t_text"), Cosine())
    pairs = replace(Pairs.aligned(image, text), channels={"teacher": teacher})
    t, v = 1 / case.hyper["logit_scale"], 1 / case.hyper["teacher_scale"]
    contrast = InfoNCE(temperature=t, two_sided=True)(pairs).mean()
    distill = Distilled(temperature=t, teacher_temperature=v, share=1.0, two_sided=True)(pairs).mean()
    case.agrees(contrast, value="out_contrast")
    case.agrees(distill, value="out_distill")
    case.agrees(contrast + distill, image=image, text=text)


def test_cwcl_and_infonce_of_the_other_direction_are_the_papers():
    case = Case("cwcl__FORMULA_cwcl__tau007")
    p, q = case.leaf("p"), case.array("in_q")
    pairs = Pairs.aligned(p, q)
    tau = case.hyper["temperature"]
    case.agrees(CWCL(temperature=tau)(pairs).mean() + InfoNCE(temperature=tau)(pairs.answers()).mean(), p=p)


def one_direction(a, b, score=None):
    """Queries a; candidates b and the other queries."""
    return Pairs.aligned(a, b, score=score).with_negatives(a, copy_of=torch.arange(len(a)))


def test_dclw_with_live_weights_is_the_well_known_one():
    case = Case("dcl__DCLW__base")
    z1, z2 = case.leaves("z1", "z2")
    loss = DCLW(temperature=case.hyper["temperature"], sharpness=case.hyper["sigma"], live_weights=True)
    case.agrees(loss(one_direction(z1, z2)).mean(), z1=z1, z2=z2)


def test_dclw_both_directions_is_lightlys():
    case = Case("dcl__DCLWLoss__lightly")
    z1, z2 = case.leaves("z1", "z2")
    loss = DCLW(temperature=case.hyper["temperature"], sharpness=case.hyper["sigma"])
    both = loss(one_direction(z1, z2, Cosine())).mean() + loss(one_direction(z2, z1, Cosine())).mean()
    case.agrees(both / 2, z1=z1, z2=z2)


@pytest.mark.parametrize("stem", ["alpha0_beta0", "alpha1_beta0", "alpha1_beta05"])
def test_two_sided_hn_nce_is_half_of_scenics_sum(stem):
    case = Case(f"diht__hn_nce_loss_without_hardnegs__{stem}")
    hyper = case.hyper
    x, t = case.leaves("x", "t")
    loss = HNNCE(hyper["temperature"], hyper["beta"], hyper["alpha"])
    case.agrees(loss(Pairs.aligned(x, t)), value="out_rows")
    case.agrees(loss(Pairs.aligned(t, x)), value="out_cols")
    both = HNNCE(hyper["temperature"], hyper["beta"], hyper["alpha"], two_sided=True)
    case.agrees(2 * both(Pairs.aligned(x, t)).mean(), grad="out_dloss_d", x=x, t=t)


def test_macl_is_the_authors():
    case = Case("macl__MACL__base")
    pos, neg = case.leaves("pos", "neg")
    row, col = torch.arange(6)[:, None], torch.arange(10)[None, :]
    place = torch.where(col == row, 0, torch.where(col == 0, row, col))  # row i's positive moves from column 0 to column i
    score, sides = given_scores(torch.cat([pos, neg], dim=1).gather(1, place))
    loss = MACL(temperature=case.hyper["tau_0"], growth=case.hyper["alpha"], alignment=case.hyper["A0"])
    case.agrees(loss(Pairs(*sides, Diagonal(0, 6), score)).mean(), pos=pos, neg=neg)


@pytest.mark.parametrize("kind", ["MACLa", "MACLb"])
def test_macls_two_older_rules_are_the_authors(kind):
    """Their first version: exponential in the alignment (at one batch, a temperature that does not follow), and linear from 0."""
    case = Case(f"macl__{kind}__old_revision")
    fx, gx = case.leaves("fx", "gx")
    start, rule = case.hyper["tau_0"], case.hyper["alpha_or_beta"]
    aligned = float((fx.detach() * gx.detach()).sum(1).mean())
    loss = MACL(temperature=start * rule**aligned, growth=0.0) if kind == "MACLa" else MACL(temperature=start, growth=rule)
    case.agrees(loss(Pairs.aligned(fx, gx)).mean(), fx=fx, gx=gx)


def test_macl_over_both_views_is_lightlys():
    case = Case("macl__MACLLoss__lightly")
    z1, z2 = case.leaves("z1", "z2")
    loss = MACL(temperature=case.hyper["tau_0"], growth=case.hyper["alpha"], alignment=case.hyper["A_0"])
    both = loss(one_direction(z1, z2, Cosine())).mean() + loss(one_direction(z2, z1, Cosine())).mean()
    case.agrees(both / 2)
    for got, name in zip(torch.autograd.grad(both / 2, [z1, z2]), ("z1", "z2"), strict=True):
        want = case.array(f"grad_{name}")  # lightly adds 1e-8 to 1 - P, which is small enough here to be seen
        assert (got - want).norm() <= 1e-6 * want.norm()


@pytest.mark.parametrize("stem", ["base", "tau_small"])
def test_four_block_is_contrastors_gte(stem):
    case = Case(f"gte__gte_loss__{stem}")
    q, d = case.leaves("q", "d")
    case.agrees(FourBlock(temperature=case.hyper["temperature"])(Pairs.aligned(q, d)).mean(), q=q, d=d)


def two_views(features, labels):
    """(n, views, d) as one side of all views, labels repeated."""
    views = features.shape[1]
    return Pairs.labelled(features.transpose(0, 1).reshape(-1, features.shape[2]), labels.repeat(views))


def test_supcon_is_lm_supcons():
    case = Case("lm-supcon__SupConLoss__labels")
    features = case.leaf("features")
    case.agrees(SupCon(temperature=0.07)(two_views(features, case.leaf("labels"))).mean(), features=features)


def test_the_inner_form_is_the_papers_l_in():
    case = Case("supcon__SupConLoss__labels_all")
    pairs = two_views(case.leaf("features"), case.leaf("labels"))
    case.agrees(SupConIn(temperature=0.1)(pairs).mean() * 0.1 / 0.07, value="paper_L_in")


def test_supcon_of_the_first_view_alone_asks_with_half_of_the_rows():
    case = Case("supcon__SupConLoss__labels_one")
    features, labels = case.leaf("features"), case.leaf("labels")
    pairs = replace(two_views(features, labels), local=(slice(0, 6), slice(0, 12)))
    case.agrees(SupCon(temperature=0.1)(pairs).mean() * 0.1 / 0.07, features=features)


def test_supcon_with_any_mask_of_positives():
    case = Case("supcon__SupConLoss__asym_mask")
    features, mask = case.leaf("features"), case.array("in_mask").repeat(2, 2)
    row, col = (mask.bool() & ~torch.eye(12, dtype=torch.bool)).nonzero(as_tuple=True)
    z = features.transpose(0, 1).reshape(12, 5)
    pairs = Pairs(z, z, Listed.of(row, col, torch.ones(len(row))), excluded=(Diagonal(0, 12),))
    case.agrees(SupCon(temperature=0.1)(pairs).mean() * 0.1 / 0.07, features=features)
    case.agrees(SupConIn(temperature=0.1)(pairs).mean() * 0.1 / 0.07, value="paper_L_in")


def test_supcon_of_rectified_features():
    case = Case("supcon__SupConLoss__nonneg_relu")
    x, labels = case.leaf("x"), case.leaf("labels")
    pairs = two_views(normalize(x.relu(), dim=2), labels)
    case.agrees(SupCon(temperature=0.5)(pairs).mean(), x=x)
