"""STRUCTURE: the authors' code, SciPy's Jensen-Shannon divergence, the row's invariances, and the memory of a stream."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.distance import jensenshannon

from dipole import Pairs
from dipole.core.encoded import Encoded
from dipole.core.errors import DataError
from dipole.losses import InfoNCE
from dipole.pairwise import using
from dipole.pairwise.scores.cosine import Cosine
from dipole.regularizers import Structure
from tests.golden_case import Case
from tests.held import Held


def side(aligned, frozen):
    return {"queries": Encoded(aligned, meta={"frozen": frozen})}


@pytest.mark.parametrize(("stem", "levels"), [("level1", 1), ("levels3_inverse", 3)])
@pytest.mark.parametrize("official", [True, False])
def test_it_is_the_authors_and_the_papers(stem, levels, official):
    case = Case(f"structure__structure_reg__{stem}")
    aligned, frozen = case.leaf("aligned"), case.leaf("original")
    term = Structure(case.hyper["temperature"], levels=levels, decaying=levels > 1, from_middle=official)
    value, grad = ("out_loss", "grad_") if official else ("paper_value", "paper_grad_")
    case.agrees(term.over_encoded(side(aligned, frozen)), value=value, grad=grad, aligned=aligned, original=frozen)


def test_beside_clip_it_is_the_authors_whole_loss():
    case = Case("structure__CLIPLoss__total")
    (image, text), (x, y) = case.leaves("image", "text"), case.leaves("image0", "text0")
    sides = {"queries": Encoded(image, meta={"frozen": x}), "keys": Encoded(text, meta={"frozen": y})}
    clip = InfoNCE(temperature=0.07, two_sided=True)(Pairs.aligned(image, text, score=Cosine())).mean()
    case.agrees(clip + 10 * Structure(from_middle=True).over_encoded(sides), image=image, text=text)


def data(n=9):
    gen = torch.Generator().manual_seed(0)
    return torch.randn(n, 4, generator=gen, dtype=torch.float64), torch.randn(n, 6, generator=gen, dtype=torch.float64)


def walks(x, temperature, level):
    unit = F.normalize(x, dim=1).numpy()
    unit = unit - unit.mean(0)
    powers = np.exp(unit @ unit.T / temperature)
    return np.linalg.matrix_power(powers / powers.sum(1, keepdims=True), level)


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_it_is_scipys_divergence_of_the_random_walks(levels):
    z, x = data()
    want = np.mean([jensenshannon(walks(x, 0.2, level), walks(z, 0.2, level), axis=1) ** 2 for level in range(1, levels + 1)])
    got = float(Structure(temperature=0.2, levels=levels).over_encoded(side(z, x)))
    assert got == pytest.approx(float(want), rel=1e-10)


@pytest.mark.parametrize("levels", [1, 3])
def test_turning_and_scaling_change_nothing_and_equal_vectors_cost_nothing(levels):
    z, x = data()
    term = Structure(levels=levels)
    turn = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))[0]
    torch.testing.assert_close(term.over_encoded(side(3 * z @ turn, x)), term.over_encoded(side(z, x)))
    assert abs(float(term.over_encoded(side(z @ turn, z)))) < 1e-12


def test_one_level_holds_no_matrix():
    gen = torch.Generator().manual_seed(0)
    z, x = torch.randn(512, 8, generator=gen).requires_grad_(), torch.randn(512, 8, generator=gen)
    with using("eager", tile_side=64):
        Structure().over_encoded(side(z, x))
        with Held() as held:
            Structure().over_encoded(side(z, x)).backward()
    assert held.peak < 512 * 512 * 4


def test_an_encoder_without_frozen_vectors_is_named():
    with pytest.raises(DataError, match=r"Structure: reads meta\['frozen'\] of every side, but there is nothing"):
        Structure().over_encoded({"queries": Encoded(torch.eye(3))})
