"""Views: which rows become positive, negative or left out, against hand-written matrices."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import normalize

from dipole.core.errors import DataError, DegenerateBatchError
from dipole.core.pairs import Pairs
from dipole.core.protocols import Batch, Views
from dipole.core.relations import copies
from dipole.core.scores import Dot
from dipole.losses import InfoNCE
from dipole.views.aligned import Aligned
from dipole.views.changes import Changes
from dipole.views.class_pairs import ClassPairs
from dipole.views.grouped import Grouped
from dipole.views.ids import content_ids
from dipole.views.labelled import Labelled
from dipole.views.numbered import Numbered
from dipole.views.same_twice import SameTwice

SOURCE = Path(__file__).parents[2] / "src"


def paired(views: Views, rows: list[dict[str, Any]]) -> tuple[Batch, Pairs]:
    batch = views(rows)
    sides = {side: torch.randn(len(items), 4) for side, items in batch.items.items()}
    return batch, views.pairs(sides, batch.meta, Dot())


def matrix(pairs: Pairs) -> list[str]:
    """One text a row: + positive, . negative, blank what no objective sees."""
    n, m = pairs.shape
    rows, cols = slice(0, n), slice(0, m)
    positive = pairs.positive.tile(rows, cols)
    positive = torch.zeros(n, m, dtype=torch.bool) if positive is None else positive
    hidden = torch.zeros(n, m, dtype=torch.bool)
    for relation in pairs.duplicates:
        tile = relation.tile(rows, cols)
        hidden |= torch.zeros_like(hidden) if tile is None else tile & ~positive
    for relation in pairs.excluded:
        tile = relation.tile(rows, cols)
        hidden |= torch.zeros_like(hidden) if tile is None else tile
    return ["".join(" " if hidden[i, j] else "+" if positive[i, j] else "." for j in range(m)) for i in range(n)]


def test_same_twice_hides_copies() -> None:
    batch, pairs = paired(SameTwice(), [{"anchor": "a"}, {"anchor": "b"}, {"anchor": "a"}])
    assert batch.items == {"queries": ["a", "b", "a"], "keys": ["a", "b", "a"]}
    assert matrix(pairs) == ["+. ", ".+.", " .+"]


def test_aligned_hides_copies_of_queries_and_of_keys() -> None:
    rows = [
        {"anchor": "q", "positive": "a"},
        {"anchor": "q", "positive": "b"},
        {"anchor": "r", "positive": "a"},
        {"anchor": "s", "positive": "c"},
    ]
    _, pairs = paired(Aligned(), rows)
    assert matrix(pairs) == ["+  .", " +..", " .+.", "...+"]


ROWS = [
    {"anchor": "q", "positive": "a", "negative": ["x", "b"]},
    {"anchor": "r", "positive": "b"},
    {"anchor": "s", "positive": "c", "negative": "y"},
]


def test_aligned_negatives_are_seen_by_every_row_but_never_as_a_copy_of_its_positive() -> None:
    batch, pairs = paired(Aligned(), ROWS)
    assert batch.items["negatives"] == ["x", "b", "y"]
    assert batch.meta["negatives.owner"].tolist() == [0, 0, 2]
    assert matrix(pairs) == ["+.....", ".+.. .", "..+..."]


def test_aligned_negatives_of_the_own_row_only() -> None:
    _, pairs = paired(Aligned(share_negatives=False), ROWS)
    assert matrix(pairs) == ["+.... ", ".+.   ", "..+  ."]


def test_aligned_takes_one_of_several_positives_by_torchs_generator() -> None:
    rows = [{"anchor": f"q{i}", "positive": [f"a{i}", f"b{i}"]} for i in range(40)]
    torch.manual_seed(3)
    first = Aligned()(rows).items["keys"]
    torch.manual_seed(3)
    assert Aligned()(rows).items["keys"] == first
    assert {key[0] for key in first} == {"a", "b"}
    assert all(key[1:] == row["anchor"][1:] for key, row in zip(first, rows, strict=True))


def test_grouped_keys_are_positive_for_their_group_and_copies_are_hidden() -> None:
    rows = [
        {"anchor": "q", "positive": ["a", "b"], "negative": ["n", "c"]},
        {"anchor": "r", "positive": ["b", "c"]},
        {"anchor": "q", "positive": "d"},
    ]
    batch, pairs = paired(Grouped(), rows)
    assert batch.items["keys"] == ["a", "b", "b", "c", "d"]
    assert batch.items["negatives"] == ["n", "c"]
    # q: a, b, d are its group's; the second b is a copy. r: the first b is a copy, the negative c too.
    assert matrix(pairs) == ["++ .+..", ". ++.. ", "++ .+.."]


def test_copies_against_a_double_loop() -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(30):
        m, k = 7, 4
        queries, groups = torch.randint(-1, 4, (5,), generator=generator), torch.randint(-1, 4, (m,), generator=generator)
        ids = torch.randint(-1, 5, (m + k,), generator=generator)
        row, col = copies(queries, groups, ids[:m], ids)
        wanted = {
            (i, j) for i in range(5) for e in range(m) for j in range(m + k) if queries[i] == groups[e] >= 0 and ids[e] == ids[j] >= 0
        }
        assert set(zip(row.tolist(), col.tolist(), strict=True)) == wanted


def test_labelled_with_texts_numbers_and_copies() -> None:
    rows = [{"anchor": "a", "label": 0}, {"anchor": "b", "label": "x"}, {"anchor": "c", "label": 0}, {"anchor": "d", "label": "x"}]
    _, pairs = paired(Labelled(), rows)
    assert matrix(pairs) == [" .+.", ". .+", "+. .", ".+. "]
    batch, pairs = paired(Labelled(copies=2), rows[:2])
    assert batch.items["queries"] == ["a", "b", "a", "b"]
    assert pairs.positives_per_row().tolist() == [1, 1, 1, 1]


def test_labelled_refuses_graded_scores() -> None:
    with pytest.raises(DataError, match="whole number or a text"):
        Labelled()([{"anchor": "a", "label": 0.5}])


@pytest.mark.parametrize("views", [SameTwice(), Aligned(), Grouped(), Labelled()])
def test_a_missing_role_is_named(views: Views) -> None:
    with pytest.raises(DataError, match=r"row 1 of the batch has no 'anchor'; did you mean 'anchors'"):
        views([{"anchor": "a", "positive": "b", "label": 1}, {"anchors": "a", "positive": "b", "label": 1}])


def test_an_empty_list_of_positives_is_refused() -> None:
    with pytest.raises(DataError, match="empty list of positives"):
        Aligned()([{"anchor": "a", "positive": []}])


def test_content_ids_are_the_same_in_another_process_and_never_negative() -> None:
    code = "from dipole.views.ids import content_ids; print(content_ids(['a', 'ä', b'a', 3]).tolist())"
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(SOURCE), "PYTHONHASHSEED": "7"}
    )
    ids = content_ids(["a", "ä", b"a", 3])
    assert other.stdout.strip() == str(ids.tolist())
    assert (content_ids(map(str, range(10_000))) >= 0).all()
    assert len(content_ids(map(str, range(10_000))).unique()) == 10_000


@pytest.mark.parametrize("views", [Aligned(), Aligned(share_negatives=False), Grouped(), Grouped(share_negatives=False)])
def test_two_ranks_compare_what_one_process_compares(views: Views) -> None:
    rows = [
        {"anchor": "q", "positive": "a", "negative": ["n", "c"]},
        {"anchor": "r", "positive": "b"},
        {"anchor": "q", "positive": "c", "negative": "b"},
        {"anchor": "s", "positive": "a", "negative": ["n"]},
    ]
    whole = views(rows)
    parts = [views(rows[:2]), views(rows[2:])]
    meta = {
        name: torch.cat([p.meta[name] + (2 * rank if name.endswith("owner") else 0) for rank, p in enumerate(parts)]) for name in whole.meta
    }
    assert {side: [*parts[0].items[side], *parts[1].items[side]] for side in whole.items} == whole.items
    sides = {side: torch.randn(len(items), 4) for side, items in whole.items.items()}
    assert matrix(views.pairs(sides, meta, Dot())) == matrix(views.pairs(sides, whole.meta, Dot()))


def test_a_second_class_gives_positives_and_neither_class_repels() -> None:
    views = ClassPairs()
    rows = [{"anchor": c, "label": y} for c, y in zip("abcde", [0, 0, 1, 1, 2], strict=True)]
    batch, _ = paired(views, rows)
    meta = {**batch.meta, "queries.partner": torch.tensor([1, 0, 0, 2, 1])}
    pairs = views.pairs({"queries": torch.randn(5, 4)}, meta, Dot())
    assert matrix(pairs) == ["  ++.", "+ ...", "++  .", "..  +", "..++ "]
    assert pairs.positives_per_row().tolist() == [2, 1, 2, 1, 2]
    alone = views.pairs({"queries": torch.randn(5, 4)}, {**meta, "queries.partner": torch.tensor([1, 1, 0, 0, 2])}, Dot())
    assert alone.positives_per_row().tolist() == [2, 2, 2, 2, 0]  # an item whose second class holds nobody else
    assert [views(rows).meta["queries.partner"].tolist() for _ in range(9)] != [batch.meta["queries.partner"].tolist()] * 9
    others = ClassPairs(partner="other")
    for _ in range(9):
        drawn = others(rows).meta
        assert bool((drawn["queries.partner"] != drawn["queries.label"]).all())
    assert others([{"anchor": c, "label": 3} for c in "ab"]).meta["queries.partner"].tolist() == [3, 3]  # there is no other class


def test_equal_numbers_are_positive_and_numbers_come_along() -> None:
    batch, pairs = paired(Numbered(number="age", copies=2), [{"anchor": "a", "age": 3}, {"anchor": "b", "age": 1.5}])
    assert batch.items == {"queries": ["a", "b", "a", "b"]}
    assert matrix(pairs) == [" .+.", ". .+", "+. .", ".+. "]
    assert pairs.rows["score"].tolist() == pairs.cols["score"].tolist() == [3.0, 1.5, 3.0, 1.5]
    for age in (True, "3", float("nan")):
        with pytest.raises(DataError, match="age of row 0 of the batch must be a finite number"):
            Numbered(number="age")([{"anchor": "a", "age": age}])


def test_changes_are_differences_and_the_same_change_is_no_negative() -> None:
    views = Changes()
    rows = [{"anchor": f"after {i}", "before": f"before {i}", "positive": said, "neutral": "a face"} for i, said in enumerate("aba")]
    batch = views(rows)
    assert list(batch.items) == ["queries", "before", "keys", "neutral"]
    sides = {side: torch.randn(3, 4) for side in batch.items}
    pairs = views.pairs(sides, batch.meta, Dot())
    assert matrix(pairs) == ["+. ", ".+.", " .+"]
    moved = views.pairs({side: v + (5.0 if side in ("queries", "before") else -3.0) for side, v in sides.items()}, batch.meta, Dot())
    torch.testing.assert_close((moved.queries, moved.keys), (pairs.queries, pairs.keys))
    assert isinstance(pairs.queries, torch.Tensor)
    want = torch.cosine_similarity(sides["queries"] - sides["before"], sides["keys"] - sides["neutral"])
    torch.testing.assert_close(pairs.positive_scores(), want)
    ideal = torch.eye(4)  # edits that are what is said, attributes orthogonal: log(1 + (n - 1) exp(-1 / t))
    given = {"queries": ideal + 2, "before": torch.full((4, 4), 2.0), "keys": ideal, "neutral": torch.zeros(4, 4)}
    found = InfoNCE(temperature=0.5)(views.pairs(given, {"keys.id": torch.arange(4)}, Dot()))
    torch.testing.assert_close(found, torch.full((4,), math.log(1 + 3 * math.exp(-2))))


@pytest.mark.parametrize("nearly", [0.0, 2**-23])
@pytest.mark.parametrize(("moved", "still"), [("queries", "before"), ("keys", "neutral")])
def test_a_row_without_a_change_leaves_the_other_gradients_as_they_are(moved: str, still: str, nearly: float) -> None:
    """All rows share the weights; the last row's difference, of no length or of one lost in rounding, is as good as a constant 0."""
    torch.manual_seed(0)
    sides = {side: torch.randn(6, 5) for side in ("queries", "before", "keys", "neutral")}
    sides[moved][5] = sides[still][5]
    weights = torch.randn(5, 5, requires_grad=True)
    given = {side: vectors @ weights for side, vectors in sides.items()}
    given[moved] = given[moved] * (1 + nearly * (torch.arange(6) == 5).float())[:, None]
    pairs = Changes().pairs(given, {"keys.id": torch.arange(6)}, Dot())
    gradient = torch.autograd.grad(InfoNCE(temperature=0.5)(pairs).sum(), weights, retain_graph=True)[0]
    assert isinstance(pairs.queries, torch.Tensor) and isinstance(pairs.keys, torch.Tensor)
    held = {
        one: normalize((given[one] - given[two])[: 6 - (one == moved)], dim=1) for one, two in (("queries", "before"), ("keys", "neutral"))
    }
    held[moved] = torch.cat([held[moved], torch.zeros(1, 5)])
    logits = held["queries"] @ held["keys"].T / 0.5
    want = torch.autograd.grad((logits.logsumexp(1) - logits.diagonal()).sum(), weights)[0]
    assert float(want.norm()) > 1
    torch.testing.assert_close(gradient, want)
    assert not bool((pairs.queries if moved == "queries" else pairs.keys)[5].any())


def test_changes_of_a_batch_in_which_nothing_changed_are_refused_and_what_is_not_finite_stays_so() -> None:
    sides = {side: torch.randn(2, 3) for side in ("queries", "before", "keys", "neutral")}
    with pytest.raises(DegenerateBatchError, match="positive and neutral"):
        Changes().pairs({**sides, "keys": sides["neutral"]}, {"keys.id": torch.arange(2)}, Dot())
    for value in (math.nan, math.inf):
        pairs = Changes().pairs({**sides, "queries": torch.full((2, 3), value)}, {"keys.id": torch.arange(2)}, Dot())
        assert isinstance(pairs.queries, torch.Tensor) and bool(pairs.queries.isnan().all())
