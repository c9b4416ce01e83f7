"""What an approximate index is measured with, and that it is used as measured."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dipole.core.errors import ModelMismatchError
from dipole.search import nearest
from dipole.search.approximate import drawn
from dipole.search.collection import Collection
from dipole.search.documents import Document
from dipole.search.filters import Filter
from dipole.search.table import Block

pytest.importorskip("lancedb")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Collection, torch.Tensor]:
    """3000 vectors around 60 centres."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(60, 32, generator=generator)
    noise = torch.randn(3000, 32, generator=generator)
    vectors = torch.nn.functional.normalize(centres.repeat(50, 1) + 0.7 * noise, dim=1)
    documents = [Document(str(i), f"text {i}") for i in range(3000)]
    return Collection.store(tmp_path_factory.mktemp("a") / "c", [Block(documents, vectors)], "theirs"), vectors


def test_a_filter_leaves_nothing_out_and_as_many_are_found_as_are_asked_for(
    tmp_path: Path, made: tuple[Collection, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, vectors = made
    documents = [Document(str(i), f"text {i}", tags=(f"rare{i % 300}",), votes=i % 7) for i in range(3000)]
    indexed, built = Collection.store(tmp_path / "c", [Block(documents, vectors)], "theirs").index("ivf-flat", recall=0.5, queries=20)
    assert built.probes < built.cells, "else this shows nothing"
    rare = Filter(tags=("rare7",))
    found, exact = (indexed.search_vectors(vectors[:20], 10, rare, exact=e) for e in (False, True))
    assert [len(hits) for hits in found] == [10] * 20 and found == exact
    assert [len(hits) for hits in indexed.search_vectors(vectors[:20], 1500)] == [1500] * 20
    assert len(indexed.search_vectors(vectors[:1], 5000)[0]) == 3000 and len(indexed.similar("5", 1500)) == 1500
    monkeypatch.setattr(nearest, "FEW", 100)
    many = indexed.search_vectors(vectors[:20], 300, Filter(min_votes=6))
    assert [len(hits) for hits in many] == [300] * 20 and all(hit.votes == 6 for hits in many for hit in hits)


def test_queries_drawn_are_near_the_collection_but_none_of_it(made: tuple[Collection, torch.Tensor]) -> None:
    collection, vectors = made
    queries = drawn(collection.table, 3000, 100)
    torch.testing.assert_close(queries.norm(dim=1), torch.ones(100))
    nearest = (queries @ vectors.T).max(dim=1).values
    isotropic = torch.nn.functional.normalize(torch.randn(100, 32, generator=torch.Generator().manual_seed(9)), dim=1)
    assert 0.6 < float(nearest.median()) < 0.95
    assert float(nearest.mean()) > float((isotropic @ vectors.T).max(dim=1).values.mean()) + 0.05


def test_the_recall_stated_is_the_recall_found_on_the_queries_given(made: tuple[Collection, torch.Tensor]) -> None:
    collection, vectors = made
    queries = torch.nn.functional.normalize(vectors[::60] + 0.3 * torch.randn(50, 32, generator=torch.Generator().manual_seed(8)), dim=1)
    with pytest.raises(ModelMismatchError, match="32 dimensions, the query's 31"):
        collection.index(queries=torch.ones(2, 31))
    indexed, built = collection.index(recall=0.9, queries=queries)
    found, exact = (indexed.search_vectors(queries, 10, exact=e) for e in (False, True))
    right = [len({h.id for h in a} & {h.id for h in b}) / 10 for a, b in zip(found, exact, strict=True)]
    assert built.recall >= 0.9
    assert built.recall == pytest.approx(sum(right) / 50, abs=1e-4)
    assert (built.kind, built.given, built.queries) == ("ivf-rq", True, 50)
    for hits, best in zip(found, exact, strict=True):
        known = {h.id: h.score for h in best}
        assert all(h.score == pytest.approx(known[h.id], abs=1e-5) for h in hits if h.id in known)
    written = indexed.compact()
    assert written.manifest.index["probes"] >= built.probes
