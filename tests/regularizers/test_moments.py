"""Variance, covariance, cross-correlation: numpy's own moments, and the official BarLIP term."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dipole.core.encoded import Encoded
from dipole.core.errors import DataError, DegenerateBatchError
from dipole.regularizers import Covariance, CrossCorrelation, Variance
from dipole.regularizers.cross_correlation import from_identity
from tests.golden_case import Case


def two_sides():
    gen = torch.Generator().manual_seed(0)
    x = torch.randn(9, 4, generator=gen, dtype=torch.float64) * torch.tensor([0.3, 1.0, 2.0, 0.5])
    return x, x + torch.randn(9, 4, generator=gen, dtype=torch.float64)


def test_variance_and_covariance_are_numpys():
    x, y = two_sides()
    sides = {"queries": Encoded(x), "keys": Encoded(y)}
    hinge = sum(np.maximum(0, 1.5 - np.sqrt(np.var(v.numpy(), axis=0, ddof=1) + 1e-4)).mean() for v in (x, y))
    assert float(Variance(target=1.5).over_encoded(sides)) == pytest.approx(hinge, rel=1e-12)
    matrices = [np.cov(v.numpy(), rowvar=False) for v in (x, y)]
    outside = sum((c**2).sum() - (np.diag(c) ** 2).sum() for c in matrices) / 4
    assert float(Covariance().over_encoded(sides)) == pytest.approx(outside, rel=1e-12)


def test_cross_correlation_is_numpys():
    x, y = two_sides()
    c = np.corrcoef(x.numpy(), y.numpy(), rowvar=False)[:4, 4:]
    want = sum((1 - c[i, j]) ** 2 if i == j else 0.2 * c[i, j] ** 2 for i in range(4) for j in range(4))
    got = CrossCorrelation(redundancy=0.2).over_encoded({"queries": Encoded(x), "keys": Encoded(y)})
    assert float(got) == pytest.approx(want, rel=1e-12)


def test_whitened_views_that_agree_cost_nothing():
    x = torch.linalg.qr(torch.randn(20, 5, dtype=torch.float64) - 0.1)[0]
    x = torch.linalg.qr(x - x.mean(0))[0] * 20**0.5
    assert float(CrossCorrelation().over_encoded({"queries": Encoded(x), "keys": Encoded(x)})) < 1e-15


def test_the_distance_from_the_identity_is_official_barlip():
    """The official total: cross-entropies of the global and the local heads, and the term over the global and the local pairs."""
    case = Case("clip_rocket__BarLIPLoss__total")
    (z_image, z_text, h_image, h_text), smooth = (F.normalize(case.array(f"in_{n}"), dim=-1) for n in ("zI", "zT", "hI", "hT")), 0.1
    both = lambda scores, eps=0.0: sum(F.cross_entropy(s, torch.arange(len(s)), label_smoothing=eps) for s in (scores, scores.T)) / 2  # noqa: E731
    local = torch.stack([both(5 * i @ t.T, smooth) for i in h_image for t in h_text]).mean()
    clip = (both(10 * z_image @ z_text.T) + 2 * local) / 3
    images, texts = case.array("in_vI"), case.array("in_vT")
    pairs = [(images[0], texts[0]), *((i, t) for i in images[1:] for t in texts[1:])]
    terms = torch.stack([from_identity(i.T @ t / len(i), case.hyper["barlip_lambda"]) for i, t in pairs])
    case.agrees(clip + case.hyper["barlip_scale"] * terms.mean())


def test_vectors_before_normalisation_are_read_where_they_are_kept():
    x, _ = two_sides()
    unit = torch.nn.functional.normalize(x, dim=1)
    kept = Variance().over_encoded({"queries": Encoded(unit, pre_norm=x)})
    assert torch.equal(kept, Variance().over_encoded({"queries": Encoded(x)}))
    assert not torch.equal(kept, Variance().over_encoded({"queries": Encoded(unit)}))


def test_what_is_not_defined_is_refused():
    x, y = two_sides()
    with pytest.raises(DataError, match="CrossCorrelation: needs queries and keys that belong together"):
        CrossCorrelation().over_encoded({"queries": Encoded(x), "keys": Encoded(y[1:])})
    with pytest.raises(DataError, match="CrossCorrelation: needs queries and keys"):
        CrossCorrelation().over_encoded({"queries": Encoded(x)})
    flat = x.clone()
    flat[:, 2] = 1.0
    with pytest.raises(DegenerateBatchError, match=r"1 of 4"):
        CrossCorrelation().over_encoded({"queries": Encoded(flat), "keys": Encoded(y)})
