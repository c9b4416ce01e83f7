"""Dense features: places by hand, reductions to one vector an image, and what the rule of matching does to training."""

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize, pad

from dipole import Pairs, diagnostics
from dipole.core.errors import DataError
from dipole.losses import InfoNCE
from dipole.modality.image.rows.digits import Digits


def maps(b=3, h=4, w=4, d=5, seed=0):
    return torch.randn(b, h, w, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def crops(*boxes):
    return torch.tensor(boxes, dtype=torch.float64)


def test_equal_crops_are_matched_place_by_place():
    box, still = crops([0, 0, 8, 8]).expand(3, 4), torch.zeros(3, dtype=torch.bool)
    found = diagnostics.places_of_crops(box, box, still, 4, 4)
    assert torch.equal(found, torch.arange(16).expand(3, 16))
    assert diagnostics.dense_alignment(maps(), maps(), found) == 0
    mirrored = diagnostics.places_of_crops(box, box, ~still, 4, 4)
    assert mirrored[0].view(4, 4).tolist() == [[3, 2, 1, 0], [7, 6, 5, 4], [11, 10, 9, 8], [15, 14, 13, 12]]
    assert diagnostics.dense_alignment(maps(), maps().flip(2), mirrored) == 0


def test_crops_that_overlap_share_only_what_both_show():
    found = diagnostics.places_of_crops(crops([0, 0, 4, 4]), crops([2, 1, 6, 5]), torch.tensor([False]), 4, 4)
    assert found.view(4, 4).tolist() == [[-1, -1, -1, -1], [-1, -1, 0, 1], [-1, -1, 4, 5], [-1, -1, 8, 9]]
    closer = diagnostics.places_of_crops(crops([0, 0, 4, 4]), crops([0, 0, 2, 2]), torch.tensor([False]), 2, 2)
    assert closer.view(2, 2).tolist() == [[3, -1], [-1, -1]]


def test_alignment_and_uniformity_by_loops():
    a, b = maps(), maps(seed=1)
    matches = torch.randint(-1, 16, (3, 16), generator=torch.Generator().manual_seed(0))
    each = []
    for i in range(3):
        for u in range(16):
            if matches[i, u] >= 0:
                x, y = a[i].view(16, 5)[u], b[i].view(16, 5)[matches[i, u]]
                each.append(float((x / x.norm() - y / y.norm()).square().sum()))
    assert diagnostics.dense_alignment(a, b, matches) == pytest.approx(sum(each) / len(each))
    every = normalize(a.view(48, 5), dim=1)
    near = [float((-2 * (every[u] - every[v]).square().sum()).exp()) for u in range(48) for v in range(u)]
    assert diagnostics.dense_uniformity(a) == pytest.approx(float(torch.tensor(near, dtype=torch.float64).mean().log()))


def test_maps_of_one_place_are_images():
    a, b = maps(h=1, w=1, b=9), maps(h=1, w=1, b=9, seed=1)
    whole = torch.zeros(9, 1, dtype=torch.int64)
    assert diagnostics.dense_alignment(a, b, whole) == diagnostics.alignment(a[:, 0, 0], b[:, 0, 0])
    assert diagnostics.dense_uniformity(a) == diagnostics.uniformity(a[:, 0, 0])


def test_the_features_own_matches_are_never_further():
    a, b = maps(), maps(seed=1)
    nearest = diagnostics.nearest_places(a, b)
    cosines = normalize(a.flatten(1, 2), dim=2) @ normalize(b.flatten(1, 2), dim=2).mT
    assert torch.equal(nearest, cosines.argmax(2))
    assert diagnostics.dense_alignment(a, b, nearest) < diagnostics.dense_alignment(a, b, torch.arange(16).expand(3, 16))


def test_what_cannot_be_matched_is_refused():
    with pytest.raises(DataError, match="no place is matched"):
        diagnostics.dense_alignment(maps(), maps(), torch.full((3, 16), -1))
    with pytest.raises(DataError, match="are below 16"):
        diagnostics.dense_alignment(maps(), maps(), torch.full((3, 16), 16))
    with pytest.raises(DataError, match="one place for each place"):
        diagnostics.dense_alignment(maps(), maps(), torch.zeros(3, 15, dtype=torch.int64))
    with pytest.raises(DataError, match=r"\(B, H, W, d\)"):
        diagnostics.dense_uniformity(torch.zeros(3, 4))
    with pytest.raises(DataError, match="with an area"):
        diagnostics.places_of_crops(crops([0, 0, 0, 4]), crops([0, 0, 4, 4]), torch.tensor([False]), 2, 2)


def crop_pairs(images, chance):
    """Two crops (B, 1, 12, 12) of each digit on a canvas of 16 x 16, and where they were, in multiples of a place."""
    canvas = pad(images, (4, 4, 4, 4))
    found = []
    for _ in range(2):
        at = 2 * torch.randint(3, (len(canvas), 2), generator=chance)
        cut = torch.stack([image[:, y : y + 12, x : x + 12] for image, (x, y) in zip(canvas, at.tolist(), strict=True)])
        found.append((cut + 0.1 * torch.randn(cut.shape, generator=chance), torch.cat([at, at + 12], 1).double()))
    return found


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_matching_by_place_aligns_and_spreads_and_matching_by_chance_collapses(seed):
    """arXiv:2210.08819: how good the rule for positive pairs is governs alignment at a given uniformity."""
    pixels, held = (torch.stack([row["anchor"] for row in Digits(part=p, count=200)]).float() / 255 for p in ("train", "test"))
    found = {}
    for by_place in (True, False):
        torch.manual_seed(seed)
        chance = torch.Generator().manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)
        )
        optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)

        def look(images, chance=chance, net=net):
            (one, first), (two, second) = crop_pairs(images, chance)
            places = diagnostics.places_of_crops(first, second, torch.zeros(len(one), dtype=torch.bool), 6, 6)
            return [net(x).permute(0, 2, 3, 1) for x in (one, two)], places

        for _ in range(60):
            (a, b), places = look(pixels[torch.randint(200, (12,), generator=chance)])
            matches = places if by_place else torch.randint(36, places.shape, generator=chance)
            there = matches >= 0
            image = torch.arange(12)[:, None].expand_as(matches)
            q, k = normalize(a.flatten(1, 2)[there], dim=1), normalize(b.flatten(1, 2)[image[there], matches[there]], dim=1)
            optimizer.zero_grad()
            InfoNCE(temperature=0.2)(Pairs.aligned(q, k)).mean().backward()
            optimizer.step()
        with torch.no_grad():
            (a, b), places = look(held[:50])
        found[by_place] = diagnostics.dense_alignment(a, b, places), diagnostics.dense_uniformity(a)
    assert found[True][0] < 0.25 and found[True][1] < -2, found
    assert found[False][1] > -0.2, found
