"""Neural collapse: dense formulas, the two symmetric configurations, and the loss's closed-form bound reached where they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dipole import Pairs
from dipole.core.errors import DataError, ParameterError
from dipole.diagnostics import batches_bind, lowest_supcon, neural_collapse
from dipole.losses import SupCon
from dipole.pairwise.scores.cosine import Cosine
from dipole.pairwise.scores.relu_cosine import ReluCosine


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


UNEVEN = torch.tensor([0] * 8 + [1] * 4 + [2] * 2)


def settled(
    labels: torch.Tensor, batches: list[torch.Tensor], seed: int, keep: bool = True, steps: int = 300
) -> tuple[float, torch.Tensor]:
    """Free features after minimising the loss of the batches at temperature 1/2, and the mean of the batches' losses then."""
    score = ReluCosine() if keep else Cosine()
    free = drawn(len(labels), 6, seed).abs().requires_grad_()  # from positive numbers: a ReLU that starts dead stays so
    optimizer = torch.optim.Adam([free], lr=0.05)
    for _ in range(steps):
        losses = [SupCon(temperature=0.5)(Pairs.labelled(free[rows], labels[rows], score=score)).mean() for rows in batches]
        loss = torch.stack(losses).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    kept = free.detach().relu() if keep else free.detach()
    return float(loss.detach()), torch.nn.functional.normalize(kept, dim=1)


@pytest.mark.parametrize("seed", range(3))
def test_supcon_through_a_relu_settles_in_an_orthogonal_frame_whatever_the_class_sizes(seed: int) -> None:
    """Classes of 8, 4 and 2: the loss falls to its bound and the means become orthogonal; with signs it falls below, and they do not."""
    bound = lowest_supcon(UNEVEN, 0.5)
    loss, h = settled(UNEVEN, [torch.arange(14)], seed)
    assert loss == pytest.approx(bound, abs=2e-3)
    found = neural_collapse(h, UNEVEN)
    assert found.to_orthogonal < 0.02 and found.nc1 < 0.01 and found.nearest_mean == 1
    loss, h = settled(UNEVEN, [torch.arange(14)], seed, keep=False)
    assert loss < bound - 0.1
    assert neural_collapse(h, UNEVEN).to_orthogonal > 0.3


def test_the_bound_holds_for_random_features_and_is_met_by_a_frame() -> None:
    for seed in range(20):
        x = drawn(14, 6, seed)
        assert SupCon(temperature=0.5)(Pairs.labelled(x, UNEVEN, score=ReluCosine())).mean() > lowest_supcon(UNEVEN, 0.5)
    for labels in (UNEVEN, torch.tensor([0, 0, 1, 1, 2])):  # the last item is alone in its class
        frame = torch.eye(3, 6, dtype=torch.float64)[labels]
        met = SupCon(temperature=0.5)(Pairs.labelled(frame, labels, score=ReluCosine())).mean()
        assert float(met) == pytest.approx(lowest_supcon(labels, 0.5), rel=1e-12)


def test_batches_that_share_no_item_leave_the_frame_open_and_bound_ones_do_not() -> None:
    """Two batches of the same classes: with the classes' directions swapped in one, both are at their bounds; shared items forbid that."""
    labels = torch.tensor([0, 0, 1, 1, 0, 0, 1, 1])
    apart, shared = [torch.arange(4), torch.arange(4, 8)], torch.tensor([0, 2])
    bound = [torch.arange(4), torch.cat([torch.arange(4, 8), shared])]
    swapped = torch.eye(2, 6, dtype=torch.float64)[torch.tensor([0, 0, 1, 1, 1, 1, 0, 0])]
    below = [
        [
            float(
                SupCon(temperature=0.5)(Pairs.labelled(swapped[rows], labels[rows], score=ReluCosine())).mean()
                - lowest_supcon(labels[rows], 0.5)
            )
            for rows in batches
        ]
        for batches in (apart, bound)
    ]
    assert below[0] == pytest.approx([0, 0], abs=1e-12) and below[1][1] > 0.1
    assert torch.equal(swapped[labels == 0].mean(0), swapped[labels == 1].mean(0))  # and yet nothing tells the classes apart
    assert not batches_bind(apart, labels) and batches_bind(bound, labels)
    loss, h = settled(labels, bound, seed=0)
    assert loss == pytest.approx(sum(lowest_supcon(labels[rows], 0.5) for rows in bound) / 2, abs=2e-3)
    assert neural_collapse(h, labels).to_orthogonal < 0.02


def test_what_binding_needs() -> None:
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    met_in_pairs = [torch.tensor([0, 1, 2, 3]), torch.tensor([2, 3, 4, 5]), torch.tensor([0, 1, 4, 5])]
    assert batches_bind(met_in_pairs, labels)
    assert not batches_bind(met_in_pairs[:2], labels)  # classes 0 and 2 never meet
    assert not batches_bind([torch.tensor([0, 2, 4]), torch.tensor([1, 3, 5])], labels)  # classes in two parts
    assert batches_bind([torch.tensor([0, 2]), torch.tensor([0, 2, 3])], labels)  # rows in no batch do not count
    with pytest.raises(DataError, match=r"names a row that has no label \(got 9\)"):
        batches_bind([torch.tensor([0, 9])], labels)
    with pytest.raises(ParameterError, match="temperature must be a number above 0"):
        lowest_supcon(labels, 0.0)


def test_degenerate_classes_are_named() -> None:
    with pytest.raises(DataError, match="1 of 2 classes have one item"):
        neural_collapse(drawn(4, 3), torch.tensor([0, 0, 0, 1]))
    with pytest.raises(DataError, match="at least 2 classes"):
        neural_collapse(drawn(4, 3), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(DataError, match="all class means are the same"):
        neural_collapse(torch.ones(4, 3), torch.tensor([0, 0, 1, 1]))
    with pytest.raises(DataError, match="one row a class"):
        neural_collapse(drawn(4, 3), torch.tensor([0, 0, 1, 1]), classifier=drawn(3, 3))
