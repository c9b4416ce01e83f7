"""Chamfer and masked agreement: loops, limits, and the one input that tells the paper from its released code."""

import pytest
import torch

from dipole.core.encoded import Encoded
from dipole.core.errors import DataError, DegenerateBatchError
from dipole.regularizers import Chamfer, MaskedAgreement


def view(tokens=None, masked=None, **meta):
    gen = torch.Generator().manual_seed(len(meta))
    tokens = torch.randn(3, 4, 5, generator=gen, dtype=torch.float64) if tokens is None else tokens
    masked = torch.rand(tokens.shape[:2], generator=gen) < 0.7 if masked is None else masked
    return Encoded(tokens[:, 0], tokens, meta={"masked": masked, **meta})


def test_agreement_by_loops_in_both_forms():
    a, b = view(), view(extra=torch.zeros(3))
    for code in (False, True):
        each = []
        for i in range(3):
            for g in range(4):
                if a.meta["masked"][i, g] and b.meta["masked"][i, g]:
                    to = range(4) if code else [g]
                    each += [1 - torch.cosine_similarity(a.tokens[i, g], b.tokens[i, j], dim=0) for j in to]
        got = MaskedAgreement(all_parts=code).over_encoded({"queries": a, "keys": b})
        torch.testing.assert_close(got, torch.stack(each).mean())


def test_orthonormal_tokens_tell_the_paper_from_its_code():
    tokens, every = torch.eye(4)[None].expand(3, 4, 4), torch.ones(3, 4, dtype=torch.bool)
    both = {"queries": view(tokens, every), "keys": view(tokens, every)}
    assert float(MaskedAgreement().over_encoded(both)) == pytest.approx(0, abs=1e-6)
    assert float(MaskedAgreement(all_parts=True).over_encoded(both)) == pytest.approx(3 / 4)


def test_only_what_both_hide_counts():
    a, b = view(), view(extra=torch.zeros(3))
    outside = ~(a.meta["masked"] & b.meta["masked"])
    before = MaskedAgreement().over_encoded({"queries": a, "keys": b})
    moved = a.tokens.clone()
    moved[outside] += 1
    assert torch.equal(MaskedAgreement().over_encoded({"queries": view(moved, a.meta["masked"]), "keys": b}), before)
    none = torch.zeros(3, 4, dtype=torch.bool)
    with pytest.raises(DegenerateBatchError, match="hidden in both"):
        MaskedAgreement().over_encoded({"queries": a, "keys": view(b.tokens, none)})
    with pytest.raises(DataError, match="in one shape"):
        MaskedAgreement().over_encoded({"queries": a})


def test_chamfer_by_loops_and_whatever_the_order():
    gen = torch.Generator().manual_seed(0)
    p, x = (torch.randn(3, 4, 6, 3, generator=gen, dtype=torch.float64) for _ in range(2))
    one = view(predicted=p, points=x)
    each = []
    for b in range(3):
        for g in range(4):
            if one.meta["masked"][b, g]:
                there = sum(min(float((s - r).square().sum()) for r in x[b, g]) for s in p[b, g]) / 6
                back = sum(min(float((s - r).square().sum()) for s in p[b, g]) for r in x[b, g]) / 6
                each.append(there + back)
    want = sum(each) / len(each)
    assert float(Chamfer().over_encoded({"queries": one})) == pytest.approx(want)
    turned = view(one.tokens, one.meta["masked"], predicted=p[:, :, torch.randperm(6)], points=x)
    assert float(Chamfer().over_encoded({"queries": one, "keys": turned})) == pytest.approx(2 * want)
    exact = view(one.tokens, one.meta["masked"], predicted=x.flip(2), points=x)
    assert float(Chamfer().over_encoded({"queries": exact})) == 0
    with pytest.raises(DegenerateBatchError, match="no group"):
        Chamfer().over_encoded({"queries": view(one.tokens, torch.zeros(3, 4, dtype=torch.bool), predicted=p, points=x)})
