"""CLIP-Rocket's combinations with a term without negatives, put together from the library's parts; the official values and gradients."""

from dataclasses import replace

import torch

from dipole import Pairs
from dipole.losses import InfoNCE, PredictedTwin, SupCon
from dipole.pairwise import Channel
from dipole.pairwise.scores.cosine import Cosine
from dipole.pairwise.transport import sinkhorn
from tests.golden_case import Case


def contrast(case, z_image, z_text, h_image, h_text):
    """The improved CLIP: global pairs, and every local image with every local text."""
    hyper, views = case.hyper, len(h_image)
    whole = InfoNCE(temperature=1 / hyper["logit_scale"], two_sided=True)
    part = InfoNCE(temperature=1 / hyper["h_logit_scale"], two_sided=True, label_smoothing=hyper["label_smoothing"])
    local = sum(part(Pairs.aligned(a, b, score=Cosine())).mean() for a in h_image for b in h_text) / views**2
    return (whole(Pairs.aligned(z_image, z_text, score=Cosine())).mean() + views * local) / (1 + views)


def test_with_a_predictor_it_is_siamlip():
    """Each projector's output, through its predictor, to the other's, which is constant; over the global and all local pairs."""
    case = Case("clip_rocket__SiamLIPLoss__total")
    leaves = case.leaves("zI", "zT", "hI", "hT")
    image, text = case.array("in_vI"), case.array("in_vT")
    places = [(0, 0), *((a, b) for a in (1, 2) for b in (1, 2))]
    apart = []
    for a, b in places:  # the predictors of the case: 1.3 v + 0.1 and 0.7 v - 0.2
        twin = {"twin": Channel(image[a], text[b], Cosine())}
        pairs = replace(Pairs.aligned(1.3 * image[a] + 0.1, 0.7 * text[b] - 0.2), channels=twin)
        apart.append(2 + 2 * PredictedTwin(dimension=4, hidden=0)(pairs).mean())
    total = contrast(case, *leaves) + torch.stack(apart).mean()
    case.agrees(total, zI=leaves[0], zT=leaves[1], hI=leaves[2], hT=leaves[3])


def test_with_balanced_targets_it_is_swalip():
    """Each pair of views learns the balanced assignment of the other pair, in both directions."""
    case = Case("clip_rocket__SwALIPLoss__total")
    leaves = case.leaves("zI", "zT", "hI", "hT")
    hyper, count = case.hyper, len(leaves[0])
    everyone = torch.ones(count, count, dtype=torch.bool).nonzero().T
    loss = SupCon(temperature=1 / hyper["h_logit_scale"])
    terms = []
    for one, other in ((leaves[2], leaves[3]), (leaves[3], leaves[2])):
        for a in range(2):
            for b in range(2):
                near = torch.cosine_similarity(one[1 - a][:, None], other[1 - b][None], dim=2).detach()
                plan = sinkhorn(-near.T, hyper["sinkhorn_eps"], iterations=hyper["sinkhorn_iters"], tolerance=0.0)
                target = (plan * count).T
                pairs = Pairs.weighted(one[a], other[b], *everyone, target[tuple(everyone)], score=Cosine())
                terms.append(loss(pairs).mean())
    total = contrast(case, *leaves) + hyper["swalip_weight"] * torch.stack(terms).mean()
    case.agrees(total, zI=leaves[0], zT=leaves[1], hI=leaves[2], hT=leaves[3])
