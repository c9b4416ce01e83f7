"""False negatives against drawing batches and loops; ECI against its closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from dipole import Pairs
from dipole.core.errors import DataError, ParameterError
from dipole.diagnostics import eci, eci_of_scores, false_negatives_by_ids, false_negatives_by_teacher


def drawn(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_rates_by_ids_are_those_of_drawn_batches() -> None:
    ids = torch.tensor([0] * 6 + [1] * 3 + [2] * 2 + list(range(3, 22)))
    found = false_negatives_by_ids(ids, batch_size=8)
    chance = torch.Generator().manual_seed(0)
    false = touched = 0.0
    for _ in range(4000):
        batch = ids[torch.randperm(len(ids), generator=chance)[:8]]
        same = (batch[:, None] == batch[None]).fill_diagonal_(False)
        false += float(same.sum()) / 56
        touched += float(same.any(1).double().mean())
    assert found.rate == pytest.approx(false / 4000, abs=0.004)
    assert found.queries == pytest.approx(touched / 4000, abs=0.015)
    assert found.rate == pytest.approx((6 * 5 + 3 * 2 + 2 * 1) / (30 * 29))
    whole = false_negatives_by_ids(ids, batch_size=30)
    assert whole.queries == pytest.approx(11 / 30)
    clean = false_negatives_by_ids(torch.arange(9), 5)
    assert clean.rate == 0 and clean.queries == pytest.approx(0, abs=1e-9)


def test_rates_by_a_teacher_against_a_loop() -> None:
    x, y = drawn(12, 3), drawn(12, 3, 1)
    negatives, owner = drawn(5, 3, 2), torch.tensor([0, 0, 3, 3, 7])
    pairs = Pairs.aligned(x, y, key_ids=torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0])).with_negatives(negatives, owner=owner)
    u, v, w = (side / side.norm(dim=1, keepdim=True) for side in (x, y, negatives))
    others = close = touched = 0
    for i in range(12):
        bar = 0.8 * float(u[i] @ v[i])
        scores = [float(u[i] @ v[j]) for j in range(12) if j != i and {i, j} != {0, 11}]
        scores += [float(u[i] @ w[k]) for k in range(5) if owner[k] == i]
        others += len(scores)
        close += sum(s > bar for s in scores)
        touched += any(s > bar for s in scores)
    found = false_negatives_by_teacher(pairs, ratio=0.8)
    assert found.rate == pytest.approx(close / others)
    assert found.queries == pytest.approx(touched / 12)


def test_planted_false_negatives() -> None:
    x = torch.eye(50, dtype=torch.float64)
    y = x.clone()
    y[1] = x[0] + x[1]  # key 1 is as good for query 0 as for its own
    found = false_negatives_by_teacher(Pairs.aligned(x, y), ratio=0.7)
    assert (found.rate, found.queries) == (1 / (50 * 49), 1 / 50)
    assert false_negatives_by_teacher(Pairs.aligned(x, x)).rate == 0


def test_eci_closed_forms() -> None:
    owner = torch.tensor([0, 0])
    found = eci_of_scores(torch.tensor([0.9]), torch.tensor([0.3, 0.5]), owner)
    assert found.eci == pytest.approx(math.log(3) * 0.4, rel=1e-6)
    assert found.capacity == pytest.approx(math.log(3)) and found.unsafe == 0
    none = eci_of_scores(torch.tensor([0.9]), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    assert none.eci == 0 and none.capacity == 0
    unsafe = eci_of_scores(torch.tensor([0.6, 0.9]), torch.tensor([0.6, 0.1, 0.3]), torch.tensor([0, 0, 1]))
    assert unsafe.unsafe == 0.5
    assert unsafe.eci == pytest.approx(math.log(2) * 2 * 0.3 * 0.6 / 0.9 / 2)  # the unsafe query gives exactly nothing
    twice = eci_of_scores(torch.tensor([0.9]), torch.tensor([0.3, 0.5, 0.5, 0.3]), torch.tensor([0, 0, 0, 0]))
    assert twice.eci - found.eci == pytest.approx(math.log(5 / 3) * 0.4, rel=1e-6)


def test_eci_of_vectors() -> None:
    q, p, n, owner = drawn(6, 4), drawn(6, 4, 1), drawn(9, 4, 2), torch.tensor([0, 0, 1, 2, 2, 2, 5, 5, 5])
    cos = torch.nn.functional.cosine_similarity
    expected = eci_of_scores((1 + cos(q, p)) / 2, (1 + cos(q[owner], n)) / 2, owner)
    assert eci(q, p, n, owner).eci == pytest.approx(expected.eci, rel=1e-9)
    turn, order = torch.linalg.qr(drawn(4, 4, 3)).Q, torch.tensor([8, 1, 4, 3, 2, 5, 7, 6, 0])
    assert eci(q @ turn, 2 * p @ turn, n[order] @ turn, owner[order]).eci == pytest.approx(expected.eci, rel=1e-9)
    with pytest.raises(DataError, match="queries from 0 to 5"):
        eci(q, p, n, owner + 1)
    with pytest.raises(DataError, match="one query number a negative"):
        eci(q, p, n, owner[:3])


def test_bad_parameters_are_named() -> None:
    with pytest.raises(ParameterError, match="the rows there are"):
        false_negatives_by_ids(torch.arange(4), batch_size=5)
    with pytest.raises(ParameterError, match="ratio"):
        false_negatives_by_teacher(Pairs.aligned(drawn(3, 2), drawn(3, 2)), ratio=1.5)
    with pytest.raises(DataError, match="at least one negative"):
        false_negatives_by_teacher(Pairs.aligned(drawn(1, 2), drawn(1, 2)))
