"""Near: the threshold is the background's own quantile, and the share of false alarms it promises holds on documents held out."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from dipole.core.errors import ParameterError
from dipole.digest.near import near_new
from dipole.search.collection import Collection
from dipole.search.documents import Document
from tests.digest.servers import Topics, about

pytest.importorskip("lancedb")


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> tuple[Collection, torch.Tensor, list[str]]:
    """3,000 documents that have nothing to do with any query, their vectors and ids."""
    model, documents = Topics(), [Document(f"n{i:04d}", f"nothing in particular {i}") for i in range(3000)]
    vectors = model.encode([d.text for d in documents])
    return Collection.create(tmp_path_factory.mktemp("crowd") / "c", documents, model), vectors, [d.id for d in documents]


def queries(count: int) -> torch.Tensor:
    return Topics().encode([f"query {i}" for i in range(count)])


def test_the_answer_is_the_definition(crowd: tuple[Collection, torch.Tensor, list[str]]) -> None:
    """Against a plain sort, for queries with different sets of new documents, and more of them than are compared at once."""
    collection, vectors, ids = crowd
    asked, chance = queries(70), torch.Generator().manual_seed(1)
    new = [
        {ids[i] for i in torch.randperm(3000, generator=chance)[: int(torch.randint(1, 400, (1,), generator=chance))]} for _ in range(70)
    ]
    for query, fresh, found in zip(asked, new, near_new(collection, asked, new, 0.02), strict=True):
        scores = dict(zip(ids, (vectors @ query).tolist(), strict=True))
        background = sorted((scores[id] for id in ids if id not in fresh), reverse=True)
        k = math.floor(0.02 * (len(background) + 1))
        assert found.background == len(background) and found.share == k / (len(background) + 1)
        assert found.threshold == pytest.approx(background[k - 1], abs=1e-6)
        wanted = sorted((id for id in fresh if scores[id] > background[k - 1] + 1e-6), key=lambda id: -scores[id])
        got = [one.id for one in found.near]
        assert set(wanted) <= set(got) and all(scores[id] > background[k - 1] - 1e-6 for id in got)
        for one in found.near:
            assert one.beyond == pytest.approx((1 + sum(b >= one.score for b in background)) / (len(background) + 1), abs=2 / 2500)
            assert one.beyond <= 0.02


def test_the_share_of_false_alarms_holds_on_held_out_background(crowd: tuple[Collection, torch.Tensor, list[str]]) -> None:
    """300 held-out documents, drawn as the rest were, against 60 queries: 18,000 decisions.

    The queries share the background, so decisions about one document are not independent; 60 queries of 300 documents are worth at
    least 300 independent ones. The mean must lie within four binomial errors of that, plus the threshold's own (Beta) error.
    """
    collection, _, ids = crowd
    chance = torch.Generator().manual_seed(2)
    held_out = {ids[i] for i in torch.randperm(3000, generator=chance)[:300]}
    for share in (0.01, 0.05, 0.2):
        found = near_new(collection, queries(60), [held_out] * 60, share)
        passed = sum(len(one.near) for one in found) / (60 * 300)
        error = math.sqrt(share * (1 - share) * (1 / 300 + 1 / 2700))
        assert abs(passed - found[0].share) < 4 * error, (share, passed)
        assert found[0].share <= share


def test_the_mean_over_splits_is_the_share_itself(crowd: tuple[Collection, torch.Tensor, list[str]]) -> None:
    """Over random splits the expected share is exactly k / (n + 1): 200 splits of one query, binomial error of 200 x 100 decisions."""
    collection, _, ids = crowd
    asked, chance = queries(1), torch.Generator().manual_seed(3)
    new = [{ids[i] for i in torch.randperm(3000, generator=chance)[:100]} for _ in range(200)]
    found = near_new(collection, asked.expand(200, -1), new, 0.05)
    passed = sum(len(one.near) for one in found) / 20_000
    assert abs(passed - found[0].share) < 4 * math.sqrt(0.05 * 0.95 / 20_000), passed


def test_what_is_about_the_query_passes(tmp_path: Path, crowd: tuple[Collection, torch.Tensor, list[str]]) -> None:
    model = Topics()
    noise = [Document(f"n{i}", f"nothing in particular {i}") for i in range(500)]
    collection = Collection.create(tmp_path / "c", [*noise, *about("cats", 0, 30), *about("dogs", 0, 30)], model)
    new = {f"cats-{i}" for i in range(30)} | {f"dogs-{i}" for i in range(30)}
    [found] = near_new(collection, model.encode(["all about cats"]), [new], 0.01)
    passed = {one.id for one in found.near}
    assert len({id for id in passed if id.startswith("cats")}) >= 28 and len(passed) <= 32


def test_small_backgrounds_say_what_they_can(tmp_path: Path) -> None:
    model = Topics()
    collection = Collection.create(tmp_path / "c", [*about("cats", 0, 3), *about("dogs", 0, 9)], model)
    cats = {"cats-0", "cats-1", "cats-2"}
    [some, everything, nothing] = near_new(
        collection, model.encode(["cats"] * 3), [cats, cats | {f"dogs-{i}" for i in range(9)}, set()], 0.01
    )
    assert {one.id for one in some.near} == cats and (some.background, some.share) == (9, 0.1)  # not the 0.01 asked for, and it says so
    assert len(everything.near) == 12 and (everything.background, everything.share) == (0, 1.0)
    assert nothing.near == [] and nothing.background == 12
    for size, k in ((9, 1), (30, 3), (49, 5), (300, 5), (600, 6)):
        held = Collection.create(tmp_path / f"c{size}", [*about("dogs", 0, size), Document("new", "cats")], model)
        [found] = near_new(held, model.encode(["cats"]), [{"new"}], 0.01)
        assert (found.background, found.share) == (size, k / (size + 1))
    [gone] = near_new(collection, model.encode(["cats"]), [{"no such id", "it's gone"}], 0.01)
    assert gone.near == [] and gone.background == 12
    [empty] = near_new(Collection.create(tmp_path / "e", [], model), model.encode(["cats"]), [{"x"}], 0.01)
    assert empty.near == []
    with pytest.raises(ParameterError, match="share"):
        near_new(collection, model.encode(["cats"]), [cats], 0.0)


def test_equal_to_the_threshold_is_not_above_it(tmp_path: Path) -> None:
    """Copies of one text have one cosine: a copy of what was there is no news."""
    model = Topics()
    copies = [Document(f"c{i}", "cats and cats") for i in range(40)]
    collection = Collection.create(tmp_path / "c", [*copies, *about("dogs", 0, 100)], model)
    [found] = near_new(collection, model.encode(["cats"]), [{"c0", "c1"}], 0.05)
    assert found.near == []
