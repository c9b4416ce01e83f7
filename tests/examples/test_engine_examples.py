"""The worked examples of docs/engine.md are right: against PyTorch, a loop, and official code."""

import pytest
import torch

from dipole import Pairs
from examples.engine.hardest_negative import hardest_negative
from examples.engine.hn_nce import hn_nce
from examples.engine.infonce import infonce
from tests.golden_case import Case


def sides(n=200, d=6):
    torch.manual_seed(0)
    return (torch.nn.functional.normalize(torch.randn(n, d, dtype=torch.float64), dim=1).requires_grad_() for _ in range(2))


def test_infonce():
    q, k = sides()
    want = torch.nn.functional.cross_entropy(q @ k.T / 0.1, torch.arange(200), reduction="none")
    got = infonce(Pairs.aligned(q, k), 0.1)
    torch.testing.assert_close(got, want)
    for a, b in zip(torch.autograd.grad(got.sum(), [q, k]), torch.autograd.grad(want.sum(), [q, k]), strict=True):
        torch.testing.assert_close(a, b)


def test_hardest_negative():
    q, k = sides()
    got = hardest_negative(Pairs.aligned(q, k), 0.2)
    s = (q @ k.T).detach()
    for i in range(0, 200, 17):
        best = max(float(s[i, j]) for j in range(200) if j != i)
        assert got[i].item() == pytest.approx(max(0.0, 0.2 + best - float(s[i, i])), rel=1e-12)


@pytest.mark.parametrize("case", ["alpha1_beta05", "alpha0_beta0"])
def test_hn_nce_is_the_official_one(case):
    golden = Case(f"diht__hn_nce_loss_without_hardnegs__{case}")
    hyper = golden.hyper
    x, t = golden.leaves("x", "t")
    there, back = (hn_nce(Pairs.aligned(a, b), hyper["temperature"], hyper["alpha"], hyper["beta"]) for a, b in ((x, t), (t, x)))
    golden.agrees(there, value="out_rows")
    golden.agrees(back, value="out_cols")
    golden.agrees(there.mean() + back.mean(), grad="out_dloss_d", x=x, t=t)
