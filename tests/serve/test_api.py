"""The JSON interface: what each address answers, and how it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("lancedb")
from starlette.testclient import TestClient

from dipole.search.documents import Document
from tests.serving import asking, shelved

PAPERS = [
    Document("a/b", "queues of keys give many negatives", title="Momentum contrast"),
    Document("é?#&", "dropout alone makes positive pairs of sentences", title="SimCSE"),
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with asking(shelved(tmp_path_factory.mktemp("serve") / "papers", PAPERS)) as client:
        yield client


def test_search_answers_the_nearest_first(client: TestClient) -> None:
    answer = client.get("/search", params={"q": "dropout sentences", "k": 1})
    assert answer.status_code == 200
    found = answer.json()
    assert [hit["id"] for hit in found["results"]] == ["é?#&"] and found["collection"] == "papers" and not found["note"]
    hit = found["results"][0]
    assert hit["title"] == "SimCSE" and hit["text"] == PAPERS[1].text and 0 < hit["score"] <= 1


def test_an_empty_collection_answers_an_empty_list_and_says_so(tmp_path: Path) -> None:
    with asking(shelved(tmp_path / "empty", [])) as client:
        for how in ("meaning", "words", "hybrid"):
            found = client.get("/search", params={"q": "anything", "how": how}).json()
            assert found["results"] == [] and found["note"] == "the collection 'empty' is empty"


def test_what_is_wrong_is_a_problem_document(client: TestClient) -> None:
    for params, status, said in (({}, 422, "q"), ({"q": "x", "k": 0}, 422, "k"), ({"q": "x", "collection": "paper"}, 404, "'papers'")):
        answer = client.get("/search", params=params)
        assert answer.status_code == status and answer.headers["content-type"] == "application/problem+json"
        assert said in answer.json()["detail"] and answer.json()["status"] == status
