"""Neural collapse: dense formulas, the two symmetric configurations, and the loss's closed-form bound reached where they are."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dipole.core.errors import DataError
from dipole.diagnostics import neural_collapse


def drawn(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("d", [3, 40])
def test_nc1_and_symmetry_against_dense_matrices(d: int) -> None:
    labels = torch.tensor([4, 4, 4, 9, 9, 2, 2, 2, 2, 2])
    x = drawn(10, d)
    means = np.stack([x[labels == c].mean(0).numpy() for c in (2, 4, 9)])
    centre = means.mean(0)
    order = {2: 0, 4: 1, 9: 2}
    apart = x.numpy() - means[[order[int(c)] for c in labels]]
    within = apart.T @ apart / 10
    between = (means - centre).T @ (means - centre) / 3
    found = neural_collapse(x, labels, classifier=torch.from_numpy(means - centre) * 5)
    assert found.nc1 == pytest.approx(np.trace(within @ np.linalg.pinv(between, rcond=1e-9)) / 3, rel=1e-6)
    lengths = np.linalg.norm(means - centre, axis=1)
    assert found.equal_norms == pytest.approx(lengths.std() / lengths.mean())
    u = (means - centre) / lengths[:, None]
    assert found.equal_angles == pytest.approx((u @ u.T)[~np.eye(3, dtype=bool)].std())
    assert found.nc3 == pytest.approx(0, abs=1e-9)
    nearest = [int(np.linalg.norm(means - row, axis=1).argmin()) for row in x.numpy()]
    assert found.nearest_mean == np.mean([n == order[int(c)] for n, c in zip(nearest, labels, strict=True)])


def test_the_two_symmetric_configurations() -> None:
    labels = torch.tensor([0] * 8 + [1] * 4 + [2] * 2)
    frame = 3 * torch.eye(3, 6)[labels]
    orthogonal = neural_collapse(frame, labels)
    assert orthogonal.nc1 == 0 and orthogonal.to_orthogonal == pytest.approx(0, abs=1e-12)
    assert orthogonal.to_simplex == pytest.approx(0, abs=1e-12)  # a centred orthogonal frame is a simplex
    simplex = (torch.eye(3) - 1 / 3)[labels]
    shifted = neural_collapse(simplex + 5, labels)
    assert shifted.to_simplex == pytest.approx(0, abs=1e-6) and shifted.equal_angles == pytest.approx(0, abs=1e-6)
    plain = neural_collapse(simplex, labels).to_orthogonal
    g, i = torch.eye(3) - 1 / 3, torch.eye(3)
    assert plain == pytest.approx(float((g / g.norm() - i / i.norm()).norm()), abs=1e-6)


def test_supcon_with_non_negative_features_reaches_the_orthogonal_frame() -> None:
    """Free non-negative features, classes of 8, 4 and 2, temperature 1/2: the loss falls to its bound, the means become orthogonal;
    without the constraint they do not (Kini et al. 2023)."""
    labels = torch.tensor([0] * 8 + [1] * 4 + [2] * 2)
    sizes = torch.bincount(labels)[labels].double()
    bound = float(torch.log(sizes - 1 + (14 - sizes) * math.exp(-2)).mean())
    start = drawn(14, 6).abs()

    def trained(keep: bool) -> tuple[float, torch.Tensor]:
        free = start.clone().requires_grad_()
        optimizer = torch.optim.Adam([free], lr=0.05)
        same = (labels[:, None] == labels[None]) & ~torch.eye(14, dtype=torch.bool)
        for _ in range(600):
            h = torch.nn.functional.normalize(free**2 if keep else free, dim=1)
            s = (h @ h.T / 0.5).fill_diagonal_(-torch.inf)
            positive = torch.where(same, s, 0.0).sum(1) / same.sum(1)
            loss = (s.logsumexp(1) - positive).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return float(loss.detach()), h.detach()

    loss, h = trained(keep=True)
    assert loss == pytest.approx(bound, abs=2e-3)
    found = neural_collapse(h, labels)
    assert found.to_orthogonal < 0.02 and found.nc1 < 0.01 and found.nearest_mean == 1
    loss, h = trained(keep=False)
    assert loss < bound - 0.1
    assert neural_collapse(h, labels).to_orthogonal > 0.3


def test_degenerate_classes_are_named() -> None:
    with pytest.raises(DataError, match="1 of 2 classes have one item"):
        neural_collapse(drawn(4, 3), torch.tensor([0, 0, 0, 1]))
    with pytest.raises(DataError, match="at least 2 classes"):
        neural_collapse(drawn(4, 3), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(DataError, match="all class means are the same"):
        neural_collapse(torch.ones(4, 3), torch.tensor([0, 0, 1, 1]))
    with pytest.raises(DataError, match="one row a class"):
        neural_collapse(drawn(4, 3), torch.tensor([0, 0, 1, 1]), classifier=drawn(3, 3))
