"""Star convexity: hinges by loops, warps of a picture whose grey is its place, and what forbids collapse."""

import pytest
import torch

from dipole.core.encoded import Encoded
from dipole.core.errors import DataError
from dipole.modality.image.encoders.feature_map import FeatureMap, one_channel
from dipole.modality.image.views.shifted import Shifted
from dipole.regularizers import StarConvex
from dipole.regularizers.star_convex import warped


def places(size=9):
    """Two images whose grey is the place across and the place down, -1 to 1."""
    line = torch.linspace(-1, 1, size, dtype=torch.float64)
    return torch.stack([line.expand(size, -1), line[:, None].expand(-1, size)])[:, None]


def test_a_shift_moves_by_halves_of_the_side_and_a_homography_divides():
    across, down = warped(places(), torch.tensor([[0.5, 0.25]] * 2, dtype=torch.float64))[:, 0]
    line = torch.linspace(-1, 1, 9, dtype=torch.float64)
    torch.testing.assert_close(across, (line + 0.5).clamp(max=1).expand(9, -1))
    torch.testing.assert_close(down, (line + 0.25).clamp(max=1)[:, None].expand(-1, 9))
    h = torch.tensor([[0.5, 0.1, 0.05, -0.1, 0.4, 0.1, 0.2, 0.1]] * 2, dtype=torch.float64)
    got = warped(places(), h)[:, 0]
    for r, c in ((0, 0), (3, 7), (8, 4)):
        x, y = float(line[c]), float(line[r])
        below = 0.2 * x + 0.1 * y + 1
        want = [(0.5 * x + 0.1 * y + 0.05) / below, (-0.1 * x + 0.4 * y + 0.1) / below]
        assert got[:, r, c].tolist() == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize(("relative", "numbers"), [(True, 8), (False, 2)])
def test_hinges_by_loops(relative, numbers):
    gen = torch.Generator().manual_seed(0)
    maps = [torch.randn(3, 6, 6, generator=gen, dtype=torch.float64) for _ in range(2)]
    truth = 0.2 * torch.randn(3, numbers, generator=gen, dtype=torch.float64)
    if numbers == 8:
        truth += torch.tensor([1.0, 0, 0, 0, 1, 0, 0, 0])
    term = StarConvex(convexity=1.5, rho=0.3, penalty=2.0, draws=2, noise=0.4, least=0.05, relative=relative)
    chance, want = StarConvex().chance.next(), 0.0
    draws = [torch.rand(truth.shape, generator=chance, dtype=torch.float64) * 0.8 - 0.4 for _ in range(2)]

    def h(i, warp):
        return float((maps[0][i] - warped(maps[1][i][None, None], warp[None])[0, 0]).square().mean())

    active = 0
    for i in range(3):
        best = h(i, truth[i])
        want += best / 3
        for drawn in draws:
            d = torch.tensor([max(abs(float(x)), 0.05) * (1 if x >= 0 else -1) for x in drawn[i]], dtype=torch.float64)
            away, size = (truth[i] * d if relative else d), 1.5 / 2 * float(d @ d)
            for s in (1, -1):
                far, near = h(i, truth[i] + s * away), h(i, truth[i] + s * 0.3 * away)
                e = [max(0.0, best + size - far), max(0.0, near - 0.7 * best - 0.3 * far + 0.3 * 0.7 * size)]
                active += sum(x > 0 for x in e)
                want += 2.0 * sum(e) / 3
    assert 0 < active < 24
    sides = {"queries": Encoded(maps[0][:, 0], meta={"map": maps[0]}), "keys": Encoded(maps[1][:, 0], meta={"map": maps[1], "warp": truth})}
    assert float(term.over_encoded(sides)) == pytest.approx(want, rel=1e-9)


def test_without_a_penalty_only_the_difference_counts_and_a_flat_map_is_not_free():
    flat = Encoded(torch.zeros(2, 1), meta={"map": torch.ones(2, 5, 5), "warp": torch.zeros(2, 2)})
    both = {"queries": flat, "keys": flat}
    assert float(StarConvex(penalty=0.0, relative=False).over_encoded(both)) == 0
    free = StarConvex(convexity=0.0, relative=False)
    assert float(free.over_encoded(both)) == 0
    one = float(StarConvex(draws=1, penalty=1.0, noise=0.1, least=0.1, relative=False).over_encoded(both))  # |d|^2 = 2 * 0.01
    assert one == pytest.approx(2 * (0.5 * 0.02 + 0.25 * 0.5 * 0.02), rel=1e-5)
    with pytest.raises(DataError, match="needs two maps"):
        StarConvex().over_encoded({"queries": flat})


def test_the_map_by_windows():
    gen = torch.Generator().manual_seed(0)
    f = torch.randn(2, 5, 4, 6, generator=gen, dtype=torch.float64)
    got = one_channel(f)
    for r, c in ((0, 0), (2, 3), (3, 5)):
        around = [f[1, :, min(max(r + a, 0), 3), min(max(c + b, 0), 5)] for a in (-1, 0, 1) for b in (-1, 0, 1)]
        centred = torch.stack([place - place.mean() for place in around])
        v = centred @ centred.T
        assert float(got[1, r, c]) == pytest.approx(float((v.sum(1).max() + v.sum(1).min()) / (2 * v.trace())), rel=1e-9)
    torch.testing.assert_close(one_channel(3 * f), got)


def test_a_shifted_image_shifted_back_is_the_image():
    rows = [{"anchor": torch.rand(1, 8, 8)} for _ in range(5)]
    batch = Shifted(size=16, farthest=0.25, seen="same")(rows)
    back = warped(torch.stack(list(batch.items["keys"])), batch.meta["keys.warp"])
    torch.testing.assert_close(back, torch.stack(list(batch.items["queries"])), atol=1e-5, rtol=0)
    assert len(batch.meta["keys.warp"].unique(dim=0)) > 1
    negative = Shifted(size=16, seen="negative")(rows)
    assert float(negative.items["keys"][0][0, 0, 0]) == 1
    edges = Shifted(size=16, seen="edges")([{"anchor": torch.ones(1, 8, 8)}]).items["keys"][0]
    assert float(edges.sum()) == 31  # a square's two nearer sides share a corner
    encoder = FeatureMap(size=16, width=4)
    maps = [encoder(encoder.prepare(batch.items[side], side)).meta["map"] for side in ("queries", "keys")]
    assert [m.shape for m in maps] == [(5, 16, 16)] * 2
