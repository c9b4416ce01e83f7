"""Sparsemax against entmax's, the official code's values and what defines it."""

import pytest
import torch

from dipole.core.sparsemax import sparsemax
from tests.golden_case import Case


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_it_is_entmaxs(scale):
    entmax = pytest.importorskip("entmax")
    scores = (scale * torch.randn(7, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).requires_grad_()
    ours, theirs = sparsemax(scores), entmax.sparsemax(scores, dim=-1)
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn(7, 50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    grads = [torch.autograd.grad((p * weight).sum(), scores)[0] for p in (ours, theirs)]
    torch.testing.assert_close(*grads)


def test_it_is_that_of_fdt():
    case = Case("fdt__Sparsemax__base")
    u = case.leaf("u")
    p = sparsemax(u)
    torch.testing.assert_close(p, case.array("out_p"))
    case.agrees((p * case.array("in_cotangent")).sum(), u=u)


def test_it_is_the_nearest_point_of_the_simplex():
    scores = torch.randn(4, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = sparsemax(scores)
    torch.testing.assert_close(found.sum(1), torch.ones(4, dtype=torch.float64))
    others = torch.distributions.Dirichlet(torch.full((6,), 0.3, dtype=torch.float64)).sample((2000,))
    assert bool(((others[None] - scores[:, None]).norm(dim=2).amin(1) >= (found - scores).norm(dim=1)).all())


def test_what_is_masked_has_no_share_and_large_scores_do_no_harm():
    masked = sparsemax(torch.tensor([[-torch.inf, 1e8, 1e8 - 8, -torch.inf]]))
    assert masked.tolist() == [[0.0, 1.0, 0.0, 0.0]]
