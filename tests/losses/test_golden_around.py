"""Values and gradients of official code for losses around a loss: who asks, what is left out, what counts how much; in float64."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import logsigmoid

from dipole import Pairs
from dipole.core.relations import Listed, Match
from dipole.losses import (
    DCL,
    BothViews,
    Graded,
    InfoNCE,
    KeysAsk,
    LearnedWeights,
    OwnOnly,
    PerPositive,
    Spectral,
    SupCon,
    WithoutSimilar,
)
from dipole.pairwise import Channel
from dipole.pairwise.scores.cosine import Cosine
from dipole.pairwise.scores.distance_power import DistancePower
from dipole.pairwise.scores.pair_function import PairFunction
from tests.golden_case import Case

NT_XENT = {
    "consert__AdvCLSoftmaxLoss._contrastive_loss_forward__nt_xent": ("h1", "h2", Cosine(), 2),  # sums the two directions
    "pearl__NTXLoss__base": ("x", "y", Cosine(), 1),
    "sra-cl__info_nce__cos": ("a", "b", Cosine(), 1),
    "sra-cl__info_nce__dot": ("a", "b", None, 1),
}


@pytest.mark.parametrize("stem", NT_XENT)
def test_infonce_of_both_views_is_nt_xent(stem):
    case = Case(stem)
    first, second, score, times = NT_XENT[stem]
    a, b = case.leaves(first, second)
    loss = BothViews(InfoNCE(temperature=case.hyper["temperature"]))
    case.agrees(times * loss(Pairs.aligned(a, b, score=score)).mean(), **{first: a, second: b})


def kernel(a, b, gamma, tau):
    return InfoNCE(temperature=tau)(Pairs.aligned(a, b, score=DistancePower(power=gamma)).both_views()).mean()


@pytest.mark.parametrize("gamma", ["1.0", "2.0"])
def test_a_distance_power_in_infonce_is_kernel_infonce(gamma):
    case = Case(f"kernel-infonce__SimCLR.nt_xent_loss__origin_gamma{gamma}")
    z1, z2 = case.leaves("z1", "z2")
    close_to(case, kernel(z1, z2, float(gamma), 0.5), z1=z1, z2=z2)


def test_mixtures_of_kernel_losses():
    for kind in ("sum", "product"):
        case = Case(f"kernel-infonce__SimCLR.nt_xent_loss__{kind}")
        z1, z2 = case.leaves("z1", "z2")
        share, tau, gamma = case.hyper["gamma_lambd"], case.hyper["temperature"], case.hyper["gamma"]
        half = z1.shape[1] // 2
        ours, gaussian = (slice(None), slice(None)) if kind == "sum" else (slice(0, half), slice(half, None))
        value = share * kernel(z1[:, ours], z2[:, ours], gamma, tau) + (1 - share) * kernel(z1[:, gaussian], z2[:, gaussian], 2.0, tau)
        close_to(case, value, z1=z1, z2=z2)


def test_spectral_over_both_views_is_kernel_infonces_with_the_positives_squared_too():
    case = Case("kernel-infonce__SimCLR.nt_xent_loss__spectral")
    z1, z2 = case.leaves("z1", "z2")
    n = len(z1)  # they divide by n (n - 1) where 2n (2n - 2) pairs are: four times the mean
    own = (z1 * z2).sum(1).square().sum() * 2 / (n * (n - 1))
    case.agrees(BothViews(Spectral(spread_weight=4.0))(Pairs.aligned(z1, z2)).mean() + own, z1=z1, z2=z2)


def close_to(case, value, **leaves):
    """As near as the 1e-6 that the authors add to a sum of at least 11 kernels of exp(-2 / tau) or more allows."""
    bound = 1e-6 / (11 * torch.exp(torch.tensor(-4.0 / 0.5))).item()
    assert abs(value.item() - case.array("out_loss").item()) < bound
    for got, name in zip(torch.autograd.grad(value, list(leaves.values())), leaves, strict=True):
        want = case.array(f"grad_{name}")
        assert (got - want).norm() <= bound * want.norm()


def test_a_masked_infonce_with_noise_is_dclrs_papers():
    case = Case("dclr__cl_vat_forward__noise_mask")
    z, z_pos = case.leaves("z", "z_pos")
    g1, g2, noise = (case.array(f"in_{n}") for n in ("g1", "g2", "noise"))
    pairs = replace(Pairs.aligned(z, z_pos, score=Cosine()), channels={"teacher": Channel(g1, g2, Cosine())})
    pairs = pairs.with_negatives(noise, channels={"teacher": torch.zeros_like(noise)})  # noise has no teacher: a score of 0
    loss = WithoutSimilar(InfoNCE(temperature=case.hyper["temperature"]), above=case.hyper["phi"])
    case.agrees(loss(pairs).mean(), value="paper_value", grad="paper_grad_", z=z, z_pos=z_pos)


def test_a_masked_infonce_with_hard_negatives_is_multicsrs_papers():
    case = Case("multicsr__cl_masked_forward__masked")
    z, z_pos, z_neg = case.leaves("z", "z_pos", "z_neg")
    g1, g2, g3 = (case.array(f"in_{n}") for n in ("g1", "g2", "g3"))
    pairs = replace(Pairs.aligned(z, z_pos, score=Cosine()), channels={"teacher": Channel(g1, g2, Cosine())})
    pairs = pairs.with_negatives(z_neg, channels={"teacher": g3})
    loss = WithoutSimilar(InfoNCE(temperature=case.hyper["temperature"]), above=case.hyper["phi"])
    case.agrees(loss(pairs).mean(), value="paper_value", grad="paper_grad_", z=z, z_pos=z_pos, z_neg=z_neg)


def test_a_graded_infonce_is_clhaifs():
    case = Case("claif__cl_forward__smooth_positive")
    z, z_pos, z_neg = case.leaves("z", "z_pos", "z_neg")
    pairs = replace(Pairs.aligned(z, z_pos, score=Cosine()), rows={"score": case.array("in_scores")}).with_negatives(z_neg)
    case.agrees(Graded(InfoNCE(temperature=case.hyper["temperature"]))(pairs).mean(), z=z, z_pos=z_pos, z_neg=z_neg)


def test_soft_targets_over_every_column_are_clhaifs():
    case = Case("claif__cl_forward__smooth_all")
    z, z_pos, z_neg, scores = *case.leaves("z", "z_pos", "z_neg"), case.array("in_scores")
    n = len(z)
    targets = ((1 - scores) / (2 * n - 1))[:, None].expand(n, 2 * n).clone()
    targets[:, :n].diagonal().copy_(scores)
    row, col = (x.flatten() for x in torch.meshgrid(torch.arange(n), torch.arange(2 * n), indexing="ij"))
    pairs = Pairs.weighted(z, torch.cat([z_pos, z_neg]), row, col, targets.flatten(), score=Cosine())
    case.agrees(SupCon(temperature=case.hyper["temperature"])(pairs).mean(), z=z, z_pos=z_pos, z_neg=z_neg)


def test_learned_weights_are_adameows_once_the_positive_is_weighted_too():
    """There -s_ii + log(sum over negatives + w_ii e^s_ii): the log of the first sum over e^s_ii is DCL."""
    case = Case("meow__AdaMEOW.weight_InfoNce__base")
    anchor, other, w1, b1, w2, b2 = case.leaves("anchor", "other", "W1", "b1", "W2", "b2")
    loss = LearnedWeights(DCL(temperature=case.hyper["temperature"]), dimension=5, hidden=16).double()
    with torch.no_grad():
        for ours, theirs in ((loss.first.weight, w1), (loss.first.bias, b1), (loss.outer.weight, w2), (loss.outer.bias, b2)):
            ours.copy_(theirs)
    own = logsigmoid(loss.outer(torch.tanh(loss.first(anchor + other))))[:, 0]
    value = torch.logaddexp(loss(Pairs.aligned(anchor, other)), own).mean()
    case.agrees(value, anchor=anchor, other=other, W1=loss.first.weight, b2=loss.outer.bias)


def test_one_softmax_per_positive_is_babelberts():
    case = Case("babelbert__NTXentLoss__cosine")
    e, labels = case.leaves("e", "labels")
    pairs = Pairs.labelled(e, labels, score=Cosine())
    count = pairs.positives_per_row()
    values = PerPositive(temperature=case.hyper["temperature"])(pairs)
    case.agrees((values * count).sum() / count.sum(), e=e)  # their mean is over pairs, ours over a row's


def test_one_softmax_per_positive_is_the_geometric_poly_view():
    case = Case("poly-view__PVCLoss__geo")
    z = case.leaf("z")
    views, samples = z.shape[:2]
    pairs = Pairs.labelled(z.flatten(0, 1), torch.arange(samples).repeat(views), score=Cosine())
    value = PerPositive(temperature=case.hyper["temperature"])(pairs).mean()
    case.agrees(value, z=z)
    case.agrees(value, value="paper_geometric")


def test_one_softmax_per_positive_is_self_guided_bert():
    case = Case("sg_bert__NTXentLoss__opt3")
    c, h = case.leaves("c", "h")
    owner = torch.arange(len(c)).repeat_interleave(h.shape[1])
    pairs = Pairs.grouped(c, h.flatten(0, 1), torch.arange(len(c)), owner, score=Cosine())
    case.agrees(PerPositive(temperature=0.1)(pairs).mean(), c=c, h=h)


def test_fewer_candidates_are_self_guided_berts_other_options():
    first, second = Case("sg_bert__NTXentLossOpt1__opt1"), Case("sg_bert__NTXentLossOpt2__opt2")
    c, h = first.leaves("c", "h")
    both = Pairs.aligned(c, h, score=Cosine()).with_negatives(c, copy_of=torch.arange(len(c)))
    first.agrees(InfoNCE(temperature=0.1)(both).mean(), c=c, h=h)
    c, h = second.leaves("c", "h")
    pairs = Pairs.aligned(c, h, score=Cosine())
    second.agrees(InfoNCE(temperature=0.1)(pairs).mean(), value="paper_value", grad="paper_grad_", c=c, h=h)


def test_supcon_both_ways_over_shared_ids_is_trajvits():
    case = Case("trajvit__get_contrastive_loss__shared_ids")
    v, t, ids = case.leaves("v", "t", "idx")
    pairs = Pairs.grouped(v, t, ids, ids, score=Cosine())
    loss = SupCon(temperature=case.hyper["temperature"])
    case.agrees((loss(pairs).mean() + KeysAsk(loss)(pairs).mean()) / 2, v=v, t=t)


@pytest.mark.parametrize("stem", ["hard", "identity"])
def test_supcon_to_targets_of_a_graph_is_congrats(stem):
    case = Case(f"congrat__square_contrastive_loss__{stem}")
    logits, alpha = case.leaf("logits"), case.hyper["alpha"]
    n = len(logits)
    matrix = PairFunction(lambda rows, cols: rows[0] @ cols[0].T)
    near = case.array("in_sims") if alpha else torch.eye(n, dtype=torch.float64)

    def one_way(given, graph):
        spread = graph - graph.min(1, keepdim=True).values
        targets = alpha * spread / spread.sum(1, keepdim=True) + (1 - alpha) * torch.eye(n, dtype=torch.float64)
        row, col = targets.nonzero(as_tuple=True)
        pairs = Pairs(given, torch.eye(n, dtype=torch.float64), Listed.of(row, col, targets[row, col]), matrix)
        return SupCon(temperature=1.0)(pairs).mean()

    case.agrees((one_way(logits, near) + one_way(logits.T, near.T)) / 2, logits=logits)


def test_infonce_on_a_part_of_composed_vectors_is_compcses():
    case = Case("compcse__cl_forward__avg")
    r, left, right = case.leaves("r", "r_left", "r_right")
    kept = case.hyper["d0"]
    pairs = Pairs.aligned(r[:, :kept], ((left + right) / 2)[:, :kept], score=Cosine())
    case.agrees(InfoNCE(temperature=case.hyper["temperature"])(pairs).mean(), r=r, r_left=left, r_right=right)


def test_infonce_with_shared_hard_negatives_is_small_lm_cfts():
    case = Case("small-lm-cft__InfoNCE__base")
    q, pos, neg = case.leaves("q", "pos", "neg")
    pairs = Pairs.aligned(q, pos, score=Cosine()).with_negatives(neg)
    case.agrees(InfoNCE(temperature=case.hyper["temperature"])(pairs).mean(), q=q, pos=pos, neg=neg)


def test_a_mean_over_pairs_of_positives_is_syncses():
    case = Case("syncse__cl_forward__mp")
    x, p, q, n = case.leaves("x", "p", "q", "n")
    loss = InfoNCE(temperature=case.hyper["temperature"])
    each = [loss(Pairs.aligned(a, b, score=Cosine()).with_negatives(n)).mean() for a, b in ((x, p), (x, q), (p, q))]
    case.agrees(sum(each) / 3, x=x, p=p, q=q, n=n)


def test_raw_dot_products_one_way_and_both_are_moe_sentences():
    one, both = Case("moe_sentence__mnr_loss__raw"), Case("moe_sentence__mnr_plus_loss__raw")
    a, b = one.leaves("a", "b")
    one.agrees(InfoNCE(temperature=1.0)(Pairs.aligned(a, b)).mean(), a=a, b=b)
    a, b = both.leaves("a", "b")
    two_sided = InfoNCE(temperature=1.0, two_sided=True)(Pairs.aligned(a, b)).mean()
    both.agrees(two_sided, value="paper_value", grad="paper_grad_", a=a, b=b)


def test_supcon_across_modalities_is_mpucs_papers():
    case = Case("mpuc-mer__SupConLoss-cross-modal-__base")
    a, b = case.leaves("a", "b")
    clips = torch.arange(len(a)).repeat_interleave(a.shape[1])
    pairs = Pairs(a.flatten(0, 1), b.flatten(0, 1), Match(clips, clips))
    case.agrees(SupCon(temperature=case.hyper["temperature"])(pairs).mean(), value="paper_value", grad="paper_grad_", a=a, b=b)


def test_a_heavier_own_negative_is_simcses():
    case = Case("simcse__cl_forward__sup_hnw")
    z, z_pos, z_neg = case.leaves("z", "z_pos", "z_neg")
    n = len(z)
    own = PairFunction(lambda rows, cols: case.hyper["hard_negative_logweight"] * (rows[0][:, None] == cols[0][None, :]).double())
    channel = Channel(torch.arange(n), torch.cat([torch.full((n,), -1), torch.arange(n)]), own)
    pairs = replace(Pairs.aligned(z, z_pos, score=Cosine()).with_negatives(z_neg), channels={"own": channel}, weighing=("own",))
    case.agrees(InfoNCE(temperature=case.hyper["temperature"])(pairs).mean(), z=z, z_pos=z_pos, z_neg=z_neg)


def test_own_negatives_and_a_momentum_teacher_are_deglas_paper():
    case = Case("degla__CLIPloss_DeGLA__base")
    hyper = case.hyper
    image, text, neg = case.leaves("image", "text", "neg")
    taught = {name: case.array(f"in_t_{name}") for name in ("image", "text", "neg")}
    owner = torch.arange(len(image)).repeat_interleave(hyper["neg_per_sample"])

    def owned(queries, keys):
        known = replace(Pairs.aligned(queries, keys), cols={"owner": torch.arange(len(queries))})
        return known.with_negatives(neg, cols={"owner": owner})

    contrast = InfoNCE(temperature=1 / hyper["logit_scale"])
    overall = (contrast(owned(image, text)).mean() + KeysAsk(contrast)(owned(image, text)).mean()) / 2
    by_image = OwnOnly(contrast)(owned(image, text)).mean()
    by_text = OwnOnly(InfoNCE(temperature=1 / hyper["tgc_scale"]))(owned(text, taught["text"])).mean()
    apart = sum((live - taught[name]).square().sum() for name, live in (("image", image), ("text", text), ("neg", neg)))
    total = overall + hyper["igc_weight"] * by_image + hyper["tgc_weight"] * by_text + hyper["distill_weight"] * apart
    case.agrees(total, value="paper_value", grad="paper_grad_", image=image, text=text, neg=neg)


def test_smoothed_infonce_of_augmented_pairs_is_clip_rockets():
    case = Case("clip_rocket__CL2LLoss__total")
    hyper = case.hyper
    z_image, z_text, h_image, h_text = case.leaves("zI", "zT", "hI", "hT")
    views = hyper["num_augs"]
    whole = InfoNCE(temperature=1 / hyper["logit_scale"], two_sided=True)
    part = InfoNCE(temperature=1 / hyper["h_logit_scale"], two_sided=True, label_smoothing=hyper["label_smoothing"])
    local = sum(part(Pairs.aligned(a, b, score=Cosine())).mean() for a in h_image for b in h_text) / views**2
    total = (whole(Pairs.aligned(z_image, z_text, score=Cosine())).mean() + views * local) / (1 + views)
    case.agrees(total, zI=z_image, zT=z_text, hI=h_image, hT=h_text)
