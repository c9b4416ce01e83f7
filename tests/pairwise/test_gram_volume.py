"""The volume that a query and an item's modalities span: official values, determinants, and its known blind spots."""

import itertools

import pytest
import torch
from torch.nn.functional import normalize

from dipole import Pairs
from dipole.core.errors import DataError
from dipole.core.scores import scores_of_pairs
from dipole.losses import InfoNCE
from dipole.pairwise import Sum, reduce, using
from dipole.pairwise.scores.gram_volume import GramVolume, adjugate
from dipole.views.modalities import Modalities
from tests.golden_case import EXACT, Case


def vectors(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def volumes(queries, keys, floor=1e-12):
    """(N, M), one number at a time."""
    everyone = [(q[None], k[None]) for q, k in itertools.product(queries, keys)]
    score = GramVolume(initial_temperature=1.0, floor=floor).double()
    return -torch.stack([scores_of_pairs(score, q, k)[0] for q, k in everyone]).reshape(len(queries), len(keys))


@pytest.mark.parametrize(("stem", "others"), [("gram__volume_computation__k2", "v"), ("gram__volume_computation3__k3", "va")])
def test_the_volume_and_its_smoothed_softmax_are_the_authors(stem, others):
    case = Case(stem)
    leaves = {name: case.leaf(name) for name in ("t", *others)}
    keys = torch.stack([leaves[name] for name in others], dim=1)
    torch.testing.assert_close(volumes(leaves["t"], keys), case.array("out_volume"), **EXACT)
    score = GramVolume(initial_temperature=1.0, floor=1e-12).double()
    loss = InfoNCE(temperature=0.07, two_sided=True, label_smoothing=0.1)(Pairs.aligned(leaves["t"], keys, score=score)).mean()
    case.agrees(loss)
    for (name, leaf), grad in zip(leaves.items(), torch.autograd.grad(loss, list(leaves.values())), strict=True):
        theirs = case.array(f"grad_{name}")  # of unit vectors as they are; ours normalises, which drops the part along the vector
        torch.testing.assert_close(grad, theirs - (theirs * leaf).sum(1, keepdim=True) * leaf, **EXACT)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_it_is_the_determinant_of_all_cosines_and_streams(count):
    q, k = vectors(9, 6).requires_grad_(), vectors(9, count, 6, seed=1).requires_grad_()
    together = torch.cat([normalize(q, dim=1)[:, None, None].expand(9, 9, 1, 6), normalize(k, dim=2)[None].expand(9, 9, count, 6)], dim=2)
    whole = torch.linalg.det(together @ together.transpose(2, 3))
    want = (-(whole + 1e-8).sqrt() / 0.07).cos().sum(1)
    with using("eager", tile_side=4):
        got = reduce(lambda tile: tile.scores.cos(), Pairs.aligned(q, k, score=GramVolume().double()), it=Sum("rows")).it
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)  # the temperature's start went through float32
    for a, b in zip(torch.autograd.grad(got.sum(), [q, k]), torch.autograd.grad(want.sum(), [q, k]), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_an_adjugate_needs_no_inverse():
    m = vectors(5, 3, 3)
    torch.testing.assert_close(adjugate(m), torch.linalg.det(m)[:, None, None] * torch.linalg.inv(m))
    singular = torch.ones(3, 3, dtype=torch.float64)
    torch.testing.assert_close(singular @ adjugate(singular), torch.zeros(3, 3, dtype=torch.float64))


def test_what_the_volume_does_not_see():
    q, k = vectors(1, 6), vectors(1, 2, 6, seed=1)
    torch.testing.assert_close(volumes(q, k), volumes(-q, k))  # a sign
    plane = torch.stack([torch.tensor([1.0, 0, 0]), torch.tensor([-0.5, 3**0.5 / 2, 0]), torch.tensor([-0.5, -(3**0.5) / 2, 0])]).double()
    assert volumes(plane[:1], plane[None, 1:]).item() < 1e-5  # 120 degrees apart, and yet no volume
    assert volumes(vectors(4, 6), k[:, [0, 0]]).max() < 1e-5  # twice the same modality
    assert volumes(torch.eye(3)[:1].double(), torch.eye(3)[None, 1:].double()).item() == pytest.approx(1.0)


def test_the_slope_at_volume_zero_is_finite_and_the_temperature_learns():
    same = torch.ones(3, 4, requires_grad=True)
    score = GramVolume()
    loss = InfoNCE(temperature=1.0)(Pairs.aligned(same, same[:, None].expand(3, 2, 4), score=score)).sum()
    loss.backward()
    assert bool(same.grad.isfinite().all())
    other = GramVolume()
    InfoNCE(temperature=1.0)(Pairs.aligned(vectors(5, 4), vectors(5, 2, 4, seed=1), score=other)).sum().backward()
    assert other.log_scale.grad.abs() > 0 and abs(float(other.temperature.detach()) - 0.07) < 1e-6


def test_modalities_are_stacked_and_anything_else_is_refused_by_name():
    part = Modalities(roles="sound frames")
    batch = part([{"anchor": f"t{i}", "sound": f"s{i}", "frames": f"f{i}"} for i in range(3)])
    assert {side: items[0] for side, items in batch.items.items()} == {"queries": "t0", "keys": "s0", "view2": "f0"}
    pairs = part.pairs({side: vectors(3, 4, seed=n) for n, side in enumerate(batch.items)}, batch.meta, GramVolume())
    assert pairs.keys.shape == (3, 2, 4) and pairs.shape == (3, 3)
    torch.testing.assert_close(pairs.keys[:, 1], vectors(3, 4, seed=2))
    with pytest.raises(DataError, match=r"keys must be \(M, V, d\), 1 to 4 modalities stacked, got \(3, 4\); use views = modalities"):
        InfoNCE()(Pairs.aligned(vectors(3, 4), vectors(3, 4), score=GramVolume()))
