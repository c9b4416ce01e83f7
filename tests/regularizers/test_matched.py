"""Pairs found by matching: a planted order comes back, and the loss on them is the paper's."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from dipole.core.encoded import Encoded
from dipole.core.errors import DataError, DegenerateBatchError, ParameterError
from dipole.losses import InfoNCE
from dipole.regularizers import Matched
from dipole.regularizers.matched import matching

TAU = 0.2


def l_align(sides: dict[str, Encoded]) -> torch.Tensor:
    """MutDet's term, as its recipe has it: two directions of weight 2 tau are 4 tau times their mean."""
    return 4 * TAU * Matched(InfoNCE(temperature=TAU, two_sided=True)).over_encoded(sides)


def sides_of(found: torch.Tensor, wanted: torch.Tensor, mask: torch.Tensor) -> dict[str, Encoded]:
    return {"queries": Encoded(found.mean(1), found, meta={"objects": wanted, "objects_mask": mask})}


def drawn(items: int, queries: int, targets: int, dimension: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    dice = torch.Generator().manual_seed(2)
    found, wanted = (normalize(torch.randn(items, n, dimension, generator=dice, dtype=torch.float64), dim=-1) for n in (queries, targets))
    return found, wanted


def test_a_planted_permutation_comes_back() -> None:
    found, _ = drawn(5, 7, 1)
    dice = torch.Generator().manual_seed(4)
    orders = torch.stack([torch.randperm(7, generator=dice) for _ in range(5)])
    noise = 0.05 * torch.randn(5, 7, 6, generator=dice, dtype=torch.float64)
    wanted = normalize(torch.stack([f[order] for f, order in zip(found, orders, strict=True)]) + noise, dim=-1)
    item, prediction, target = matching(found, wanted, torch.ones(5, 7, dtype=torch.bool))
    assert torch.equal(prediction, orders[item, target]) and len(item) == 35


@pytest.mark.parametrize(("queries", "targets"), [(5, 3), (3, 5), (4, 4)])
def test_the_matching_is_the_best_of_all_that_there_are(queries: int, targets: int) -> None:
    found, wanted = drawn(3, queries, targets)
    mask = torch.ones(3, targets, dtype=torch.bool)
    mask[1, 0] = mask[2, 1] = False
    item, prediction, target = matching(found, wanted, mask)
    assert bool(mask[item, target].all())
    for number in range(3):
        held = mask[number].nonzero()[:, 0].tolist()
        small, large = (held, range(queries)) if len(held) <= queries else (range(queries), held)
        flip = len(held) <= queries
        score = found[number] @ wanted[number].T
        best = max(
            sum(float(score[(b, a) if flip else (a, b)]) for a, b in zip(small, way, strict=True))
            for way in itertools.permutations(large, len(small))
        )
        mine = item == number
        assert float(score[prediction[mine], target[mine]].sum()) == pytest.approx(best, rel=1e-12)
        assert len(prediction[mine].unique()) == len(target[mine].unique()) == len(small)


def test_the_term_is_two_tau_times_both_directions() -> None:
    found, wanted = drawn(4, 5, 3)
    mask = torch.ones(4, 3, dtype=torch.bool)
    mask[0, 2] = False
    item, prediction, target = matching(found, wanted, mask)
    logits, diagonal = found[item, prediction] @ wanted[item, target].T / TAU, torch.arange(11)
    want = 2 * TAU * cross_entropy(logits, diagonal) + 2 * TAU * cross_entropy(logits.T, diagonal)
    torch.testing.assert_close(l_align(sides_of(3 * found, 2 * wanted, mask)), want)  # lengths do not count


def test_perfect_orthonormal_matches_have_a_closed_form() -> None:
    basis = torch.eye(6, dtype=torch.float64).reshape(2, 3, 6)
    value = l_align(sides_of(basis, basis[:, [2, 0, 1]], torch.ones(2, 3, dtype=torch.bool)))
    assert float(value) == pytest.approx(4 * TAU * math.log(1 + 5 * math.exp(-1 / TAU)), rel=1e-12)


def test_gradients_reach_predictions_and_targets() -> None:
    found, wanted = (x.requires_grad_() for x in drawn(2, 4, 3))
    grads = torch.autograd.grad(l_align(sides_of(found, wanted, torch.ones(2, 3, dtype=torch.bool))), [found, wanted])
    assert all(float(g.norm()) > 0.1 for g in grads)
    assert bool((grads[0].norm(dim=-1) > 0).sum(1).eq(3).all())  # the prediction that is matched with nothing has none


def test_what_it_refuses() -> None:
    found, wanted = drawn(2, 4, 3)
    mask = torch.ones(2, 3, dtype=torch.bool)
    term = Matched(InfoNCE(temperature=1.0))
    with pytest.raises(DataError, match=r"reads objects of the queries, but there is nothing; use an encoder that gives it"):
        term.over_encoded({"queries": Encoded(found.mean(1), found)})
    with pytest.raises(DataError, match=r"needs predictions \(B, Q, d\), targets \(B, n, d\) and their mask"):
        term.over_encoded(sides_of(found, wanted[..., :5], mask))
    with pytest.raises(DegenerateBatchError, match="no item of the batch has a target"):
        term.over_encoded(sides_of(found, wanted, ~mask))
    with pytest.raises(DegenerateBatchError, match="InfoNCE: needs at least one negative"):
        term.over_encoded(sides_of(found[:1], wanted[:1], mask[:1] & torch.tensor([True, False, False])))
    with pytest.raises(ParameterError, match="loss must be a part of slot losses"):
        Matched(loss=3)
    with pytest.raises(TypeError, match="loss"):
        Matched()  # type: ignore[call-arg]
