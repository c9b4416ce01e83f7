"""What the doctor measures, against closed forms and double loops."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from dipole import Pairs
from dipole.core.errors import UsageError
from dipole.train.doctor import readings
from dipole.train.doctor.alarms import ALARMS
from dipole.train.doctor.watch import Doctor
from dipole.train.doctor.weights import Weights
from dipole.views.ids import content_ids


def unit(*shape: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape, dtype=torch.float64), dim=-1)


def test_effective_rank() -> None:
    assert readings.effective_rank(torch.eye(6).repeat(3, 1)) == pytest.approx(6, rel=1e-4)
    assert readings.effective_rank(torch.ones(5, 8)) == pytest.approx(1, rel=1e-3)
    two = torch.tensor([[3.0, 0.0], [0.0, 1.0]])  # shares 3/4 and 1/4
    assert readings.effective_rank(two) == pytest.approx(math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25))), rel=1e-4)


def test_mean_cosine_against_all_pairs() -> None:
    x = torch.randn(17, 5)
    c = torch.nn.functional.cosine_similarity(x[:, None], x[None], dim=-1)
    assert readings.mean_cosine(x) == pytest.approx(float((c.sum() - c.trace()) / (17 * 16)), abs=1e-6)


@pytest.mark.parametrize("rows", [5, 90])  # fewer and more than are looked at
def test_pairs_against_a_double_loop(rows: int) -> None:
    q, k, extra = unit(rows, 6), unit(rows, 6), unit(9, 6)
    pairs = Pairs.aligned(q, k).with_negatives(extra)  # every row sees them, each is one row's own
    owner = torch.arange(9) % rows
    found = readings.of_pairs(pairs, torch.cat([torch.full((rows,), -1), owner]), temperature=0.01)
    seen = range(min(rows, 64))
    columns = torch.cat([k, extra])
    others = [q[i] @ columns[j] > q[i] @ k[i] for i in seen for j in range(rows + 9) if j != i and (j < rows or owner[j - rows] != i)]
    own = [q[i] @ extra[j] > q[i] @ k[i] for j in range(9) if (i := int(owner[j])) in seen]
    assert found["negatives_above"] == pytest.approx(sum(map(float, others)) / len(others))
    assert found["own_above"] == pytest.approx(sum(map(float, own)) / len(own))
    sure = 0
    for i in seen:
        shares = (columns @ q[i] / 0.01).softmax(0)
        sure += float(shares.max()) > 0.999 and int(shares.argmax()) != i
    assert found["sure_and_wrong"] == pytest.approx(sure / len(seen))


def test_pairs_with_several_positives_count_what_beats_the_best_of_them() -> None:
    x, labels = unit(30, 4), torch.arange(30) % 7
    pairs = Pairs.labelled(x, labels)
    found = readings.of_pairs(pairs, None, temperature=None)
    above = total = 0
    for i in range(30):
        best = max(float(x[i] @ x[j]) for j in range(30) if j != i and labels[j] == labels[i])
        others = [float(x[i] @ x[j]) for j in range(30) if labels[j] != labels[i]]
        above, total = above + sum(s > best for s in others), total + len(others)
    assert found == {"negatives_above": pytest.approx(above / total)}
    assert readings.classes_of(pairs) == 7
    assert readings.classes_of(Pairs.aligned(x, x)) == 0
    assert readings.of_pairs(replace(pairs, positive=Pairs.labelled(x, torch.arange(30)).positive), None, None) == {}


def test_ids() -> None:
    queries, keys = ["a", "b", "a", "c", "a"], ["1", "2", "1", "1", "3"]
    meta = {"queries.id": content_ids(queries), "keys.id": content_ids(keys)}
    assert readings.of_ids(meta) == {"copies": pytest.approx(2 / 5)}  # rows 0 and 2; row 4 has another answer
    assert readings.of_ids({"queries.id": content_ids(queries)}) == {"copies": pytest.approx(3 / 5)}
    meta |= {"negatives.id": content_ids(["3", "2", "9"]), "negatives.owner": torch.tensor([0, 0, 1])}
    assert readings.of_ids(meta)["given_positive"] == pytest.approx(1 / 3)  # "3" answers "a" elsewhere in the batch
    assert readings.of_ids({}) == {}


def test_gradients() -> None:
    g = {"queries": torch.eye(4), "keys": torch.eye(4), "negatives": torch.eye(4)[:2] * 2}
    assert readings.of_gradients(g) == {"rows_with_gradient": 1.0, "negatives_gradient": pytest.approx(4 / 8)}
    g["queries"] = torch.diag(torch.tensor([1.0, 1e-3, 1e-9, 0.0]))
    assert readings.of_gradients(g)["rows_with_gradient"] == pytest.approx(0.5)
    assert readings.of_gradients({}) == {}


def test_weights_without_gradient_and_standing_still() -> None:
    named = [(name, torch.nn.Parameter(torch.ones(3, 2))) for name in ("moves", "stands", "silent", "zero", "wanted_so")]
    named[4][1].requires_grad_(False)
    weights = Weights(named)
    for _ in range(4):
        for _, p in named[:2]:
            p.grad = torch.ones(3, 2)
        named[3][1].grad = torch.zeros(3, 2)
        weights.read(moving=True)
        named[0][1].data -= 0.1
    assert weights.without_gradient(4) == ["silent", "zero"]
    assert weights.standing_still(3) == ["stands"]
    assert weights.standing_still(4) == []
    weights.read(moving=False)
    assert weights.standing_still(4) == []  # with a learning rate of 0 nothing has to move


def test_unknown_alarm() -> None:
    with pytest.raises(UsageError, match="did you mean 'collapse'"):
        Doctor(stop_on=["colapse"])
    assert Doctor(stop_on=ALARMS).stop_on == set(ALARMS)


def test_alignment_and_uniformity_of_a_reading() -> None:
    """Of 64 rows, at unit length whatever the vectors' own; absent where a row has several positives or a vector is 0."""
    q, k = torch.randn(90, 6, dtype=torch.float64), torch.randn(90, 6, dtype=torch.float64)
    found = readings.of_pairs(Pairs.aligned(q, k), None, None)
    u, v = (torch.nn.functional.normalize(side[:64], dim=-1) for side in (q, k))
    assert found["alignment"] == pytest.approx(float((u - v).square().sum(1).mean()), rel=1e-9)
    assert found["uniformity"] == pytest.approx(float((-2 * torch.pdist(u).square()).exp().mean().log()), rel=1e-9)
    assert "alignment" not in readings.of_pairs(Pairs.labelled(q, torch.arange(90) // 2), None, None)
    q[3] = 0
    assert "alignment" not in readings.of_pairs(Pairs.aligned(q, k), None, None)
