"""Bad input against every part of the catalogues: one clear error, or a value that is defined; never a silent zero."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from dipole import Pairs
from dipole.assembly.discover import SLOTS, discover
from dipole.core.encoded import Encoded
from dipole.core.errors import DataError, DipoleError, ParameterError, UsageError
from dipole.core.relations import Listed
from dipole.core.scores import Dot
from dipole.losses import InfoNCE
from dipole.pairwise.scores.cosine import Cosine
from dipole.train.objective import Objective
from dipole.views.aligned import Aligned
from tests.catalogue import LOSSES, loss_of, pairs_for
from tests.negatives.catalogue import CASES
from tests.negatives.test_contract import compared, recipe
from tests.regularizers.catalogue import REGULARIZERS, sides_of

N, D = 12, 8
PARTS = [found for slot in SLOTS for found in discover(slot).values()]
TEMPERATURES = [
    pytest.param(found, field, id=f"{found.slot} {found.name}: {field.name}")
    for found in PARTS
    for field in dataclasses.fields(found.load())  # type: ignore[arg-type]
    if "temperature" in field.name
]


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    dice = torch.Generator().manual_seed(0)
    q, k = (torch.nn.functional.normalize(torch.randn(N, D, generator=dice), dim=1) for _ in range(2))
    return q, k, torch.arange(N) % 4


def test_there_are_temperatures() -> None:
    assert len(TEMPERATURES) > 40


@pytest.mark.parametrize("bad", [0, 0.0, -0.1, math.nan, math.inf, True, "0.1"])
@pytest.mark.parametrize(("found", "field"), TEMPERATURES)
def test_temperatures_are_numbers_above_0(found: Any, field: Any, bad: Any) -> None:
    with pytest.raises(ParameterError, match=f"{field.name} must be a number above 0"):
        found.load()(**{field.name: bad, **{k: v for k, v in given(found).items() if k != field.name}})


def given(found: Any) -> dict[str, Any]:
    """Something for each parameter that must be given."""
    missing = dataclasses.MISSING
    needed = [f for f in dataclasses.fields(found.load()) if f.default is missing and f.default_factory is missing]
    return {f.name: torch.nn.Identity() if f.metadata.get("wrapped") else 9 for f in needed}


WEIGHTS = [
    pytest.param(found, field, id=f"{found.slot} {found.name}: {field.name}")
    for found in PARTS
    for field in dataclasses.fields(found.load())  # type: ignore[arg-type]
    if "weight" in field.name
]


@pytest.mark.parametrize("bad", [-0.5, math.nan, math.inf])
@pytest.mark.parametrize(("found", "field"), WEIGHTS)
def test_weights_are_no_negative_numbers(found: Any, field: Any, bad: float) -> None:
    with pytest.raises(ParameterError, match=f"{field.name} must be (a number of|a number above|true or false)"):
        found.load()(**{field.name: bad, **{k: v for k, v in given(found).items() if k != field.name}})


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_weights_of_pairs_and_of_terms(bad: float) -> None:
    q, k, _ = batch()
    row = torch.arange(N)
    with pytest.raises(DataError, match="weights must be finite numbers of at least 0"):
        Pairs.weighted(q, k, row, row, torch.ones(N).index_fill(0, torch.tensor([4]), bad))
    with pytest.raises(UsageError, match="weights must be numbers of at least 0, one for each of 1 terms"):
        Objective(Aligned(), Dot(), [InfoNCE()], [bad])
    with pytest.raises(UsageError, match="one for each of 1 terms"):
        Objective(Aligned(), Dot(), [InfoNCE()], [1.0, 1.0])


def tried(work: Callable[[], torch.Tensor]) -> torch.Tensor | None:
    """What ``work`` returns; None where it raises an error of dipole's own. Any other error is a failure."""
    try:
        return work()
    except DipoleError as error:
        assert len(str(error)) > 20
        return None


@pytest.mark.parametrize("name", LOSSES)
def test_vectors_of_two_lengths(name: str) -> None:
    """Refused, or the other side is not read; and where both are of another length than weights that a loss was made with."""
    pairs, loss = pairs_for(name, *batch()), loss_of(name)
    want = copy.deepcopy(loss)(pairs)
    value = tried(lambda: copy.deepcopy(loss)(replace(pairs, keys=pairs.keys[..., :3])))
    assert value is None or torch.equal(value, want)
    both = tried(lambda: loss(replace(pairs, queries=pairs.queries[..., :3], keys=pairs.keys[..., :3])))
    assert both is None or bool(both.isfinite().all())


def test_what_is_said_of_two_lengths() -> None:
    q, k, _ = batch()
    for pairs in (Pairs.aligned(q, k[:, :3]), Pairs.aligned(k[:, :3], q).reversed()):
        with pytest.raises(
            DataError, match=r"^score dot: queries and keys must have vectors of one length \(got \(8, 3\)\); encode both with"
        ):
            InfoNCE()(pairs)
    with pytest.raises(DataError, match="score cosine: queries and keys must have vectors of one length"):
        InfoNCE()(Pairs.aligned(q, k[:, :3], score=Cosine()).reversed())


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_without_a_positive(name: str) -> None:
    """Refused, or excluded and worth something all the same: pairs that are judged one by one, positives by numbers."""
    pairs = pairs_for(name, *batch())
    none = Listed(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), torch.zeros(0))
    value = tried(lambda: loss_of(name)(replace(pairs, positive=none)))
    assert value is None or (bool(value.isfinite().all()) and bool((value != 0).any()))


@pytest.mark.parametrize("bad", [-1.0, math.nan])
@pytest.mark.parametrize("name", LOSSES)
def test_what_rows_and_columns_say(name: str, bad: float) -> None:
    """Labels, grades, propensities: one each; what is no number is refused where it is read, and a negative weight or share."""
    pairs, loss = pairs_for(name, *batch()), loss_of(name)
    want = copy.deepcopy(loss)(pairs)
    for axis in ("rows", "cols"):
        held = getattr(pairs, axis)
        for key, numbers in held.items():
            with pytest.raises(DataError, match=f"one entry per {axis[:-1]}"):
                replace(pairs, **{axis: {**held, key: numbers[1:]}})
            if key not in ("score", "propensity", "concentration"):
                continue  # whole numbers: labels, ids, owners
            wrong = numbers.double().index_fill(0, torch.tensor([3]), bad)
            value = tried(partial(copy.deepcopy(loss), replace(pairs, **{axis: {**held, key: wrong}})))
            if value is not None and not torch.equal(value, want):  # read: a grade may be negative, a weight may not
                assert bad < 0 and key == "score" and name.partition(",")[0] in ("pearson", "rank_kl", "pro", "supremix"), (axis, key)


@pytest.mark.parametrize("name", REGULARIZERS)
def test_labels_of_another_length(name: str) -> None:
    """Refused, or not read."""
    q, k, labels = batch()
    sides = sides_of(q, k, labels)
    torch.manual_seed(0)
    term = REGULARIZERS[name].make(D)
    want = copy.deepcopy(term).over_encoded(sides)
    for wrong in (labels[:-1], labels[:1], torch.cat([labels, labels])):
        other = {side: replace(e, meta={**e.meta, "label": wrong}) for side, e in sides.items()}
        value = tried(partial(copy.deepcopy(term).over_encoded, other))
        assert value is None or torch.equal(value, want)


@pytest.mark.parametrize("name", CASES)
def test_vectors_of_another_length_than_what_is_kept(name: str) -> None:
    """Refused by all that keep vectors, when they are compared and when they are put in, and before anything changes."""
    objective, sides, meta = compared(recipe(name))
    keeps = any(t.dim() == 2 and t.shape[1] == D and len(t) for n, t in objective.state_dict().items() if n.startswith("kept"))
    value = tried(lambda: objective({side: Encoded(e.pooled[:, :5]) for side, e in sides.items()}, meta))
    assert value is None or not keeps
    before = copy.deepcopy(objective.state_dict())
    for more in objective.negatives:
        held = {n: t.clone() for n, t in more.state_dict().items()} if isinstance(more, torch.nn.Module) else {}
        if any(t.dim() == 2 and t.shape[1] == D and len(t) for t in held.values()):
            with pytest.raises(DataError, match="dimension"):
                more.update({side: e.pooled[:, :5] for side, e in sides.items()}, meta)
    after = objective.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[n], after[n]) for n in before)
