"""Requests drawn from the OpenAPI document, valid and not: no answer is a failure, and each is what the document says."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("lancedb")
pytest.importorskip("schemathesis")
import schemathesis
from hypothesis import HealthCheck, given, settings, strategies
from starlette.testclient import TestClient

from dipole.search.documents import Document
from tests.serving import asking, shelved

PAPERS = [
    Document(
        f"a/{number}",
        f"text number {number}",
        {"year": number},
        f"Title {number}",
        ("Ann",),
        datetime.date(2026, 1, 1 + number),
        tags=("x",),
    )
    for number in range(20)
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with asking(shelved(tmp_path_factory.mktemp("fuzz") / "papers", PAPERS), rate=0) as client:
        yield client


@pytest.fixture(scope="module")
def described(client: TestClient) -> Any:
    """The document as schemathesis takes it. Without the alternatives of security: this server asks for no key."""
    document = client.get("/openapi.json").json()
    for operations in document["paths"].values():
        for operation in operations.values():
            operation.pop("security", None)
    return schemathesis.openapi.from_dict(document)


ADDRESSES = [
    ("GET", "/search"),
    ("GET", "/similar"),
    ("GET", "/similar/{id}"),
    ("GET", "/items"),
    ("GET", "/items/{id}"),
    ("GET", "/collections"),
    ("POST", "/encode"),
    ("GET", "/health"),
    ("GET", "/metrics"),
]


@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.parametrize(("method", "path"), ADDRESSES)
def test_no_request_of_the_document_breaks_the_server(described: Any, client: TestClient, method: str, path: str, mode: str) -> None:
    operation = described[path][method]
    if mode == "negative" and not (operation.query or operation.path_parameters or operation.body):
        return  # nothing that could be wrong

    @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode)))
    @settings(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def check(case: Any) -> None:
        kwargs = case.as_transport_kwargs(base_url="http://127.0.0.1")
        if isinstance(kwargs.get("data"), (bytes, str)):
            kwargs["content"] = kwargs.pop("data")
        kwargs.pop("cookies", None)
        case.validate_response(client.request(**kwargs))

    check()


def test_every_address_is_described(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {(method.upper(), path) for path, methods in paths.items() for method in methods} == set(ADDRESSES)


NASTY = [
    "' OR '1'='1",
    "'; DROP TABLE rows; --",
    "x') OR 1=1 --",
    "\\' OR 1=1 --",
    "%27 OR 1=1",
    "\x00",
    "a\x00b",
    "\u202e\u0000\ufeff",
    "\ufffd" * 50,
    "🦆" * 50,
    "../../../etc/passwd",
    "{{7*7}}${7*7}",
    "<script>alert(1)</script>",
    "`id`; $(id)",
    "\r\nSet-Cookie: a=b",
    "title:x AND (text:y OR *)",
    '"unclosed (phrase',
    "*" * 100,
    "-" * 200,
    "NOT",
    "^2~3",
    "é" * 200,
]


@pytest.mark.parametrize("nasty", NASTY)
def test_injection_finds_nothing_it_should_not(client: TestClient, nasty: str) -> None:
    everything = client.get("/items", params={"limit": 1}).json()["total"]
    for name, value in (("tag", nasty), ("author", nasty), ("field", f"year={nasty}"), ("field", f"{nasty}=1")):
        answer = client.get("/items", params={name: value})
        if answer.status_code == 200:
            assert answer.json()["total"] == 0 and answer.json()["items"] == [], (name, value)
        else:
            assert answer.status_code == 422
        assert client.get("/search", params={"q": "text", name: value}).json().get("results", []) == []
    for how in ("meaning", "words", "hybrid"):
        answer = client.get("/search", params={"q": nasty, "how": how})
        assert answer.status_code == 200 and len(answer.json()["results"]) <= 10
    for path in ("/items/", "/similar/"):
        assert client.get(path + quote(nasty, safe="")).status_code == 404
    missing = client.get("/items", params={"collection": nasty})
    assert missing.status_code == 404 and missing.headers["content-type"] == "application/problem+json"
    assert client.post("/encode", json={"texts": [nasty]}).status_code == 200
    assert client.get("/items", params={"limit": 1}).json()["total"] == everything == len(PAPERS)


@given(strategies.text(max_size=300))
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_query_is_answered(client: TestClient, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    for how in ("meaning", "words", "hybrid"):
        assert client.get("/search", params={"q": text, "how": how, "k": 3}).status_code == (200 if text else 422)


@given(
    strategies.recursive(
        strategies.none() | strategies.booleans() | strategies.floats() | strategies.text(),
        lambda inner: strategies.lists(inner) | strategies.dictionaries(strategies.text(), inner),
        max_leaves=20,
    )
)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_body_is_answered(client: TestClient, body: Any) -> None:
    raw = json.dumps(body)
    assert client.post("/encode", content=raw, headers={"Content-Type": "application/json"}).status_code in (200, 400, 422)
    assert client.post("/encode", content=json.dumps({"texts": body}), headers={"Content-Type": "application/json"}).status_code in (
        200,
        422,
    )


@given(
    strategies.binary(max_size=300),
    strategies.sampled_from(["application/json", "text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", ""]),
)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_bytes_are_answered(client: TestClient, body: bytes, kind: str) -> None:
    for path in ("/encode", "/login"):
        assert client.post(path, content=body, headers={"Content-Type": kind}, follow_redirects=False).status_code < 500
