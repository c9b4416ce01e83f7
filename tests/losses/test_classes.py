"""GML, ProtoNCE, pairwise BCE, ReLU cosine, SupReMix: official code, double loops, and what their papers promise."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from dipole import Pairs
from dipole.core.errors import DataError, DegenerateBatchError, ParameterError
from dipole.core.mixtures import between
from dipole.core.relations import Match
from dipole.losses import DCL, GML, InfoNCE, PairwiseBCE, ProtoNCE, SupCon, SupReMix
from dipole.losses.softmax.proto_nce import concentration
from dipole.pairwise.scores.relu_cosine import ReluCosine
from dipole.pairwise.scores.same_class import SameClass
from tests.golden_case import Case


def grouped(q, k, y, z, ids=None):
    pairs = Pairs.labelled(q, y, k, z)
    return pairs if ids is None else replace(pairs, rows={**pairs.rows, "id": ids[0]}, cols={**pairs.cols, "id": ids[1]})


def test_gml_is_the_authors():
    """Their sum also holds a classifier with logit adjustment and a distilled teacher, both PyTorch's here."""
    case = Case("gml-longtail__GMLLoss__base")
    q, k, log_t, sup = case.leaves("q", "k", "log_T", "sup_logits")
    counts, y = case.array("in_counts"), case.array("in_q_labels")
    loss = GML(prior=tuple(counts.tolist())).double()
    loss.log_temperature = torch.nn.Parameter(log_t.detach().clone().squeeze())
    near = loss(grouped(q, k, y, case.array("in_k_labels"), (case.array("in_q_idx"), case.array("in_k_idx")))).mean()
    prior = (counts / counts.sum()).log()
    heat, teacher = 4.0, case.array("in_t_logits")
    kept = F.kl_div((30 * sup / heat).log_softmax(1), (30 * teacher / heat).softmax(1), reduction="batchmean") * heat**2
    case.agrees(near + F.cross_entropy(30 * sup + prior, y) + kept, q=q, k=k, sup_logits=sup)
    near = loss(grouped(q, k, y, case.array("in_k_labels"), (case.array("in_q_idx"), case.array("in_k_idx")))).mean()
    near.backward()
    torch.testing.assert_close(loss.log_temperature.grad, case.array("grad_log_T").squeeze(), rtol=1e-6, atol=1e-9)


def classes(n=8, m=11, seed=0):
    gen = torch.Generator().manual_seed(seed)
    q, k = (F.normalize(torch.randn(s, 4, generator=gen, dtype=torch.float64), dim=1) for s in (n, m))
    return q, k, torch.randint(0, 3, (n,), generator=gen), torch.cat([torch.arange(3), torch.randint(0, 3, (m - 3,), generator=gen)])


def test_gml_with_one_key_a_class_is_cross_entropy_over_keys():
    q, k, y, _ = classes()
    got = GML(temperature=0.3).double()(grouped(q, k[:3], y, torch.arange(3)))
    torch.testing.assert_close(got, 2 * F.cross_entropy(q @ k[:3].T / 0.3, y, reduction="none"), rtol=1e-6, atol=0)


def test_repeating_a_classs_keys_changes_nothing_in_gml_but_in_supcon():
    q, k, y, z = classes()
    more, labels = torch.cat([k, k[z == 1]]), torch.cat([z, z[z == 1]])
    torch.testing.assert_close(GML().double()(grouped(q, more, y, labels)), GML().double()(grouped(q, k, y, z)))
    assert not torch.allclose(SupCon()(grouped(q, more, y, labels)), SupCon()(grouped(q, k, y, z)))


def test_the_prior_of_gml_is_an_addition_to_a_classs_logit():
    q, k, y, z = classes()
    plain, even = GML().double()(grouped(q, k, y, z)), GML(prior=(7, 7, 7)).double()(grouped(q, k, y, z))
    torch.testing.assert_close(plain, even)
    tilted = GML(prior=(1, math.e, 1)).double()(grouped(q, k, y, z)) / 2
    means = torch.stack([(q @ k[z == c].T).exp().mean(1).log() for c in range(3)], dim=1)
    torch.testing.assert_close(tilted, F.cross_entropy(means + torch.tensor([0.0, 1.0, 0.0]), y, reduction="none"), rtol=1e-6, atol=0)


def test_gml_refuses_what_it_cannot_judge():
    q, k, y, z = classes()
    with pytest.raises(DegenerateBatchError, match="no row's class has another key"):
        GML().double()(Pairs.labelled(q[:3], torch.arange(3)))
    with pytest.raises(DataError, match="lack 'label'"):
        GML().double()(Pairs.aligned(q, q))
    with pytest.raises(ParameterError, match="prior must be one number for each of 3 classes"):
        GML(prior=(1, 2)).double()(grouped(q, k, y, z))
    alone = GML().double()(grouped(q[:2], k[z < 2], torch.tensor([0, 2]), z[z < 2]))
    assert float(alone[0].detach()) > 0 and float(alone[1].detach()) == 0


def test_proto_nce_and_cluster_weights_are_meows():
    """Two clusterings: the weights T - (shared clusters) leave the positive out of the denominator, as DCL does; then ProtoNCE of each."""
    case = Case("meow__InfoNce-ProtoNCE__base")
    coarse, fine = case.leaves("coarse", "fine")
    clusters, n = case.array("in_clusters"), len(coarse)
    apart = (clusters[:, :, None] != clusters[:, None, :]).sum(0)
    scores = (coarse @ fine.T / case.hyper["temperature"]).exp()
    info = -((coarse * fine).sum(1) / case.hyper["temperature"] - (apart * scores).sum(1).log()).mean()
    torch.testing.assert_close(info, case.array("out_info"), rtol=1e-6, atol=0)
    proto = []
    for t in range(2):
        centroids, phi = case.array(f"in_mu{t + 1}"), case.array(f"in_phi{t + 1}")
        pairs = Pairs.labelled(coarse, clusters[t], centroids, torch.arange(len(centroids)))
        values = ProtoNCE()(replace(pairs, cols={**pairs.cols, "concentration": phi}))
        proto.append(values.mean() + math.log(n / len(centroids)))  # theirs has N times the mean in the place of the sum
    torch.testing.assert_close(torch.stack(proto).mean(), case.array("out_proto"), rtol=1e-6, atol=0)
    case.agrees(info + torch.stack(proto).mean(), coarse=coarse, fine=fine)
    everyone = replace(Pairs.aligned(coarse, fine), duplicates=(Match(clusters[0], clusters[0]),))
    each = DCL(temperature=case.hyper["temperature"])(everyone)
    assert each.shape == (n,)


def test_concentration_by_hand():
    distance, clusters = torch.tensor([0.0, 4.0, 1.0, 9.0, 5.0], dtype=torch.float64), torch.tensor([0, 0, 1, 1, 2])
    raw = torch.tensor([1 / math.log(12), 2 / math.log(12), 2 / math.log(12)], dtype=torch.float64)  # the single one takes the largest
    raw = raw.clamp(raw.quantile(0.1), raw.quantile(0.9))
    torch.testing.assert_close(concentration(distance, clusters, 3, 0.2), 0.2 * raw / raw.mean())
    with pytest.raises(DataError, match="at most one item"):
        concentration(distance[:3], torch.arange(3), 3)
    with pytest.raises(DataError, match="concentrations must be above 0"):
        pairs = Pairs.labelled(torch.eye(2), torch.arange(2), torch.eye(2), torch.arange(2))
        ProtoNCE()(replace(pairs, cols={"concentration": torch.tensor([0.1, 0.0])}))


def test_pairwise_bce_is_pytorchs():
    logits, labels = torch.randn(9, 5, dtype=torch.float64), torch.tensor([0, 0, 1, 1, 1, 2, 2, 0, 3])
    p = logits.softmax(1)
    got = PairwiseBCE(negative_weight=0.5)(Pairs.labelled(logits, labels))
    for i in range(9):
        same = [j for j in range(9) if j != i and labels[j] == labels[i]]
        other = [j for j in range(9) if labels[j] != labels[i]]
        bce = lambda js, target, i=i: F.binary_cross_entropy(p[js] @ p[i], torch.full((len(js),), target, dtype=torch.float64))  # noqa: E731
        want = (bce(same, 1.0) if same else 0) + 0.5 * bce(other, 0.0)
        torch.testing.assert_close(got[i], want)


def test_pairwise_bce_at_its_ends():
    sure = 200 * torch.eye(3)
    assert float(PairwiseBCE()(Pairs.aligned(sure, sure)).abs().max()) < 1e-6
    disjoint = PairwiseBCE()(Pairs.aligned(sure, sure.roll(1, 0)))
    torch.testing.assert_close(disjoint, torch.full((3,), -math.log(1e-7)))
    with pytest.raises(DegenerateBatchError, match="no row of the batch has a positive"):
        PairwiseBCE()(Pairs.labelled(sure, torch.arange(3)))
    scores = SameClass().factors(sure, sure).products[0]
    torch.testing.assert_close(scores[0] @ scores[1].T, torch.eye(3))


def test_supcon_of_non_negative_features_is_the_authors():
    case = Case("supcon__SupConLoss__nonneg_relu")
    x, labels = case.leaf("x"), case.array("in_labels")
    pairs = Pairs.labelled(x.transpose(0, 1).reshape(-1, x.shape[2]), labels.repeat(2), score=ReluCosine())
    case.agrees(SupCon(temperature=case.hyper["temperature"])(pairs).mean(), x=x)


def test_letters_terms_are_softmaxes():
    """Codes as candidates, an item's own code left out, another of its cluster the positive: no loss of its own is needed."""
    case = Case("letter__VectorQuantizer.diversity_loss__base")
    x, codes = case.leaves("x_q", "codebook")
    own, chosen, places = case.array("in_own_code"), case.array("in_pos_code"), torch.arange(len(case.array("in_codebook")))
    pairs = replace(Pairs.labelled(x, chosen, codes, places), excluded=(Match(own, places),))
    case.agrees(SupCon(temperature=1.0)(pairs).mean(), x_q=x, codebook=codes)
    case = Case("letter__RQVAE.CF_loss__base")
    z, h = case.leaves("z_hat", "h")
    case.agrees(InfoNCE(temperature=1.0)(Pairs.aligned(z, h)).mean(), z_hat=z, h=h)


def remixed(z, labels, **given):
    y = labels.to(torch.float32)
    pairs = Pairs.labelled(z, labels)
    return SupReMix(**given).double()(replace(pairs, rows={"score": y}, cols={"score": y}))


def numbered(n=10):
    gen = torch.Generator().manual_seed(2)
    return F.normalize(torch.randn(n, 4, generator=gen, dtype=torch.float64), dim=1), torch.randint(0, 5, (n,), generator=gen)


def test_supremix_without_mixtures_is_supcon_and_then_weighs_distances():
    z, labels = numbered()
    plain = remixed(z, labels, temperature=0.3, mixed_positives=0, mix_negatives=False, magnify=0.0)
    torch.testing.assert_close(plain, SupCon(temperature=0.3)(Pairs.labelled(z, labels)))
    weighed = remixed(z, labels, temperature=0.3, mixed_positives=0, mix_negatives=False)
    logits = z @ z.T / 0.3 + ((labels[:, None] - labels[None]).abs() + 1).double().log()
    every = logits.masked_fill(torch.eye(10, dtype=torch.bool), -math.inf).logsumexp(1)
    same = (labels[:, None] == labels[None]) & ~torch.eye(10, dtype=torch.bool)
    want = every - torch.where(same, z @ z.T / 0.3, 0.0).sum(1) / same.sum(1).clamp(min=1)
    torch.testing.assert_close(weighed, torch.where(same.any(1), want, 0.0))


def test_supremix_by_loops():
    """All mixtures around an anchor, since there are fewer than may be drawn; the anchor's shares are those its generator draws."""
    z, labels = numbered()
    y, t = labels.double(), 0.4
    z = z.requires_grad_()
    got = remixed(z, labels, temperature=t, window=2.5, mixed_positives=64)
    share = torch.rand(10, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64).sort(1).values[:, 1]
    fixed, values = z.detach(), []
    for i in range(10):
        attracted, every = [], []
        for k in range(10):
            if k == i:
                continue
            every.append(z[i] @ z[k] / t + math.log(abs(y[i] - y[k]) + 1))
            if y[k] == y[i]:
                attracted.append(z[i] @ z[k] / t)
            else:
                mixed = share[i] * fixed[i] + (1 - share[i]) * fixed[k]
                number = share[i] * y[i] + (1 - share[i]) * y[k]
                every.append(z[i] @ mixed / t + math.log(abs(y[i] - number) + 1))
        for j, k in itertools.product(range(10), range(10)):
            if y[j] < y[i] < y[k] and y[i] - y[j] < 2.5 and y[k] - y[i] < 2.5:
                c = (y[k] - y[i]) / (y[k] - y[j])
                assert float(c * y[j] + (1 - c) * y[k]) == pytest.approx(float(y[i]))
                attracted.append(z[i] @ (c * fixed[j] + (1 - c) * fixed[k]) / t)
                every.append(attracted[-1])
        values.append(torch.stack(every).logsumexp(0) - torch.stack(attracted).mean() if attracted else torch.zeros(()))
    want = torch.stack(values)
    torch.testing.assert_close(got, want.to(got.dtype))
    ours, theirs = (torch.autograd.grad(v.sum(), z, retain_graph=True)[0] for v in (got, want))
    torch.testing.assert_close(ours, theirs)


def test_mixtures_lie_where_they_should():
    gen = torch.Generator().manual_seed(0)
    z, y = torch.randn(30, 3, generator=gen), torch.rand(30, generator=gen) * 10
    mixed = between(torch.cat([z, y[:, None]], 1), y, slice(0, 30), 2.0, 5, gen)  # the number mixed along with the vector
    torch.testing.assert_close(mixed.vectors[..., 3][mixed.there], y[:, None].expand(30, 5)[mixed.there], rtol=1e-5, atol=1e-5)
    assert bool(mixed.there.any()) and not bool(between(z, y.floor(), slice(0, 30), 1.0, 5, gen).there.any())


def test_supremix_draws_anew_and_refuses_what_it_cannot_mix():
    z, labels = numbered()
    y = labels.float()
    pairs = replace(Pairs.labelled(z, labels), rows={"score": y}, cols={"score": y})
    loss = SupReMix().double()
    assert not torch.equal(loss(pairs), loss(pairs)) and int(loss.chance.drawn) == 2
    with pytest.raises(DataError, match="lack 'score'"):
        SupReMix()(Pairs.labelled(z, labels))
    with pytest.raises(DegenerateBatchError, match="no item has a positive, real or mixed"):
        remixed(z[:2], torch.tensor([0, 1]))


def test_larger_gaps_cost_more():
    z, labels = numbered()
    near, far = (remixed(z, labels * times, temperature=0.3, mixed_positives=0, mix_negatives=False) for times in (1, 2))
    some = near > 0
    assert bool((far[some] > near[some]).all())
