"""Effective rank and anisotropy: the diagnostics of the same name, and what a step on them does."""

import pytest
import torch

from dipole import diagnostics
from dipole.core.encoded import Encoded
from dipole.core.errors import DegenerateBatchError
from dipole.regularizers import Anisotropy, EffectiveRank


def vectors(n=12, d=5):
    gen = torch.Generator().manual_seed(0)
    return (
        torch.randn(n, d, generator=gen, dtype=torch.float64) @ torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.5, 0.1], dtype=torch.float64))
        + 0.4
    )


def test_they_are_the_diagnostics():
    x, y = vectors(), vectors().flip(1) ** 2
    sides = {"queries": Encoded(x), "keys": Encoded(y)}
    for term, diagnostic in ((EffectiveRank(), diagnostics.effective_rank), (Anisotropy(), diagnostics.anisotropy)):
        assert float(term.over_encoded(sides)) == pytest.approx(diagnostic(x) + diagnostic(y), rel=1e-7)


def test_known_ranks():
    rank = lambda x: float(EffectiveRank().over_encoded({"queries": Encoded(x)}))  # noqa: E731
    assert rank(torch.eye(5)) == pytest.approx(5, rel=1e-5)
    assert rank(torch.ones(4, 3)) == pytest.approx(1, rel=1e-5)
    x, turn = vectors(), torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))[0]
    for same in (7 * x, x @ turn, torch.cat([x, x])):
        assert rank(same) == pytest.approx(rank(x), rel=1e-10)
    s = torch.tensor([0.9, 0.1], dtype=torch.float64)
    assert rank(torch.diag(s)) == pytest.approx(float((-(s * s.log()).sum()).exp()), rel=1e-10)


@pytest.mark.parametrize(("raised", "up"), [(False, False), (True, True)])
@pytest.mark.parametrize("start", [vectors(), torch.eye(6, dtype=torch.float64) + 0.1])  # repeated singular values
def test_a_step_moves_the_rank_the_right_way(raised, up, start):
    x = start.clone().requires_grad_()
    EffectiveRank(raised=raised).over_encoded({"queries": Encoded(x)}).backward()
    assert bool(x.grad.isfinite().all())
    after = diagnostics.effective_rank(start - 1e-2 * x.grad)
    assert after > diagnostics.effective_rank(start) if up else after < diagnostics.effective_rank(start)


def test_vectors_on_one_line_have_a_finite_gradient_and_vectors_of_nothing_are_refused():
    line = torch.ones(6, 3).requires_grad_()
    EffectiveRank(raised=True).over_encoded({"queries": Encoded(line)}).backward()
    assert bool(line.grad.isfinite().all())
    with pytest.raises(DegenerateBatchError, match="every vector is 0"):
        EffectiveRank().over_encoded({"queries": Encoded(torch.zeros(3, 2))})
