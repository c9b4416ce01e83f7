"""From items to unit vectors; any items; no table of everything by everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

pytest.importorskip("sklearn")
pytest.importorskip("ir_measures")

from dipole.core.errors import DataError
from dipole.evaluate.kind import make
from dipole.evaluate.kinds.analogies import AnalogyTask
from dipole.evaluate.kinds.bitext import BitextTask
from dipole.evaluate.kinds.out_of_domain import DomainTask
from dipole.evaluate.kinds.reranking import RerankingTask
from dipole.evaluate.labelled import Labelled, LabelledTask
from dipole.evaluate.scored_pairs import ScoredPairs
from dipole.evaluate.task import RetrievalTask
from dipole.evaluate.vectors import Sides, cosines_of_pairs
from dipole.pairwise import using


def test_equal_texts_are_encoded_once_and_order_is_kept() -> None:
    seen: list[str] = []

    def encode(items: Sequence[str]) -> torch.Tensor:
        seen.extend(items)
        return torch.tensor([[float(len(item)), 1.0] for item in items])

    found = Sides(encode).queries(["aa", "b", "aa", "ccc"])
    assert seen == ["aa", "b", "ccc"]
    torch.testing.assert_close(found, torch.nn.functional.normalize(torch.tensor([[2.0, 1], [1, 1], [2, 1], [3, 1]]), dim=1))


def test_both_sides_share_a_call_unless_they_have_encoders_of_their_own() -> None:
    calls: list[tuple[str, int]] = []

    def encoder(name: str) -> Any:
        return lambda items: calls.append((name, len(items))) or torch.ones(len(items), 2)

    Sides(encoder("one")).both(["a", "b"], ["b", "c"])
    Sides(encoder("one"), encoder("two")).both(["a", "b"], ["b", "c"])
    assert calls == [("one", 3), ("one", 2), ("two", 2)]


def test_bad_vectors_are_named_with_their_item() -> None:
    with pytest.raises(DataError, match=r"1 of 2 vectors of the queries hold NaN or infinity, the first is that of item 1 \(got 'b'\)"):
        Sides(lambda items: torch.tensor([[1.0], [torch.inf]])).queries(["a", "b"], "queries")
    with pytest.raises(DataError, match="there are no queries to encode"):
        Sides(lambda items: torch.ones(0, 2)).queries([], "queries")
    with pytest.raises(DataError, match=r"one length \(got 'queries: 2, documents: 3'\)"):
        sides = Sides(lambda items: torch.ones(len(items), 2), lambda items: torch.ones(len(items), 3))
        sides.queries(["a"], "queries")
        sides.keys(["a"], "documents")


def test_cosines_of_listed_pairs_are_cut_in_blocks() -> None:
    vectors = torch.nn.functional.normalize(torch.randn(50, 4), dim=1)
    row, col = torch.randint(0, 50, (2, 70_000)).tolist()
    torch.testing.assert_close(cosines_of_pairs(vectors, vectors, row, col), (vectors @ vectors.T)[row, col])
    assert cosines_of_pairs(vectors, vectors, [], []).shape == (0,)


N, M = 700, 900
PICTURES = [np.random.default_rng(i).normal(size=(4, 4)) for i in range(N + M)]
LABELS = [f"c{i % 3}" for i in range(N + M)]


def picture_encoder(items: Sequence[Any]) -> torch.Tensor:
    """Items are pictures, arrays that no dictionary takes."""
    return torch.tensor(np.stack([item.ravel() for item in items])).float()


def task_of(kind: str) -> Any:
    ids, places = [f"i{i}" for i in range(N)], [f"d{i}" for i in range(M)]
    if kind in ("retrieval", "code-search", "threshold"):
        return RetrievalTask("p", ids, PICTURES[:N], places, PICTURES[N:], {one: {places[i]: 1} for i, one in enumerate(ids)})
    if kind == "bitext":
        return BitextTask("p", PICTURES[:N], PICTURES[N:], [(i, i) for i in range(N)])
    if kind in ("classification", "few-shot", "clustering"):
        return LabelledTask("p", Labelled(PICTURES[:N], LABELS[:N]), Labelled(PICTURES[N:], LABELS[N:]))
    if kind == "out-of-domain":
        return DomainTask("p", PICTURES[:N], PICTURES[N : N + 600], PICTURES[N + 600 :])
    if kind == "reranking":
        return RerankingTask("p", PICTURES[:100], [PICTURES[N + i : N + i + 5] for i in range(100)], [[1, 0, 0, 0, 0]] * 100, {})
    if kind == "analogies":
        words = [f"w{i}" for i in range(M)]
        return AnalogyTask("p", [tuple(words[i : i + 4]) for i in range(N)], ["s"] * N)
    return ScoredPairs("p", PICTURES[:N], PICTURES[N : 2 * N], np.arange(N).tolist())


class Largest(TorchDispatchMode):
    """The most entries any one tensor had while it was on."""

    entries = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.entries = max([self.entries, *(t.numel() for t in tree_leaves(out) if isinstance(t, torch.Tensor))])
        return out


@pytest.mark.parametrize(
    "kind",
    [
        "analogies",
        "bitext",
        "classification",
        "code-search",
        "clustering",
        "few-shot",
        "out-of-domain",
        "reranking",
        "retrieval",
        "sts",
        "threshold",
    ],
)
def test_items_may_be_pictures_and_no_table_of_all_pairs_is_made(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dipole.evaluate.ranking.DEPTH", 50)
    options = {"few-shot": {"episodes": 5, "ways": 3}, "clustering": {"runs": 1}}.get(kind, {})

    def words(items: Sequence[str]) -> torch.Tensor:
        return picture_encoder([PICTURES[int(item[1:])] for item in items])

    with Largest() as meter, using("eager", tile_side=128):
        found = make(kind, options)(task_of(kind), words if kind == "analogies" else picture_encoder, samples=20)
    assert found.counts[found.unit] > 0
    assert meter.entries < N * M / 3
