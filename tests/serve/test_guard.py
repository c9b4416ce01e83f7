"""What stands before every address: each guard refuses what it is there for, and lets the rest through."""

from __future__ import annotations

import html
import re
import time
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("lancedb")

from dipole.core.errors import UsageError
from dipole.search.documents import Document
from dipole.serve.guard.rate import Buckets
from dipole.serve.settings import Settings
from tests.serving import Words, asking, shelved

KEY = "correct-horse-battery"
ONE = [Document("a", "one text")]
ASK = {"q": "text"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shelved(tmp_path_factory.mktemp("guard") / "papers", ONE)


# -- the key -----------------------------------------------------------------------------------------------------------


def test_a_host_that_others_reach_needs_a_key(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "192.168.0.7", "::", "example.org"):
        with pytest.raises(UsageError, match=r"needs an API key; make one with: .* --api-key-file"):
            Settings(tmp_path, host=host)
        assert not Settings(tmp_path, host=host, api_key=KEY).on_loopback
    for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"):
        assert Settings(tmp_path, host=host).on_loopback
    for key in ("short", "with a space in it, long", "ключключключключключ"):
        with pytest.raises(UsageError, match="at least 16 printable ASCII"):
            Settings(tmp_path, api_key=key)
    assert KEY not in repr(Settings(tmp_path, api_key=KEY))


@pytest.mark.parametrize(
    "headers",
    [{}, {"X-API-Key": KEY + "x"}, {"Authorization": "Bearer nope"}, {"Authorization": f"Basic {KEY}"}, {"Cookie": "dipole_session=in"}],
)
def test_without_the_key_nothing_is_told(folder: Path, headers: dict[str, str]) -> None:
    with asking(folder, api_key=KEY) as client:
        for path in ("/search?q=text", "/items", "/items/a", "/similar/a", "/collections", "/metrics", "/openapi.json", "/nowhere"):
            answer = client.get(path, headers=headers)
            assert answer.status_code in (401, 429) and answer.headers["content-type"] == "application/problem+json", path
            assert "one text" not in answer.text and "papers" not in answer.text
        assert client.post("/encode", json={"texts": ["a"]}, headers=headers).status_code in (401, 429)
        assert client.get("/health").status_code == 200
        client.app.state.shelf.refused = {"papers": "a reason"}  # type: ignore[attr-defined]
        assert client.get("/health", headers=headers).json()["refused"] == {}
        assert client.get("/health", headers={"X-API-Key": KEY}).json()["refused"] == {"papers": "a reason"}
        for path in ("/login", "/confirm/x", "/unsubscribe/x", "/confirm/x?collection=y", "/static/none"):  # open to everybody
            told = client.get(path, headers={**headers, "Accept": "text/html"})
            assert told.status_code in (200, 404, 410) and "papers" not in told.text and "1 document" not in told.text, path


def test_with_the_key_by_either_header(folder: Path) -> None:
    with asking(folder, api_key=KEY) as client:
        for headers in ({"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}, {"authorization": f"bearer {KEY}"}):
            assert client.get("/search", params=ASK, headers=headers).json()["results"][0]["id"] == "a"


def test_keys_are_compared_in_constant_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hmac

    compared = []
    true = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((len(a), len(b))) or true(a, b))
    with asking(folder, api_key=KEY) as client:
        for key in ("x", KEY, KEY + "y" * 100):
            client.get("/items", headers={"X-API-Key": key})
    assert compared[:3] == [(32, 32)] * 3


def test_who_guesses_has_to_wait_and_others_do_not(folder: Path) -> None:
    with asking(folder, api_key=KEY) as client:
        found = [client.get("/items", headers={"X-API-Key": f"guess {i}"}).status_code for i in range(15)]
        assert found == [401] * 10 + [429] * 5
        assert client.get("/items", headers={"X-API-Key": KEY}).status_code == 200
        assert client.post("/login", data={"key": "guess"}).status_code == 429


def test_people_get_a_form_and_then_a_cookie(folder: Path) -> None:
    with asking(folder, api_key=KEY, base_url="https://papers.example.org") as client:
        client.base_url = "https://papers.example.org"  # type: ignore[assignment]
        page = {"Accept": "text/html"}
        for path in ("/mark", "/logout"):  # a session that ended meanwhile
            late = client.post(path, headers=page, follow_redirects=False)
            assert late.status_code == 303 and late.headers["location"] == "/login?next=%2F"
        asked = client.get("/collections", params={"a": "b"}, headers=page, follow_redirects=False)
        assert asked.status_code == 303 and asked.headers["location"] == "/login?next=%2Fcollections%3Fa%3Db"
        form = client.get(asked.headers["location"])
        assert (
            form.status_code == 200 and 'value="/collections?a=b"' in form.text and "<script" not in form.text and "style=" not in form.text
        )
        wrong = client.post("/login", data={"key": "wrong", "next": "/"}, follow_redirects=False)
        assert wrong.status_code == 401 and "That is not the key" in wrong.text and "set-cookie" not in wrong.headers
        right = client.post("/login", data={"key": KEY, "next": "/collections?a=b"}, follow_redirects=False)
        assert right.status_code == 303 and right.headers["location"] == "/collections?a=b"
        cookie = right.headers["set-cookie"].lower()
        assert "httponly" in cookie and "secure" in cookie and "samesite=lax" in cookie and KEY not in cookie
        assert client.get("/collections").status_code == 200
        assert client.post("/logout", follow_redirects=False).headers["clear-site-data"] == '"cache"'
        assert client.get("/collections").status_code == 401


def test_every_cookie_is_sent_by_https_alone_where_people_come_by_https(folder: Path) -> None:
    for base_url, secure in (("https://papers.example.org", True), ("", False)):
        with asking(folder, api_key=KEY, base_url=base_url) as client:
            session = client.post("/login", data={"key": KEY}, follow_redirects=False).headers["set-cookie"]
            visitor = client.get("/help", headers={"X-API-Key": KEY}).headers["set-cookie"]
            for cookie in (session, visitor):
                assert ("Secure" in cookie) == secure and "HttpOnly" in cookie and "SameSite=lax" in cookie, cookie


def test_openers_are_cut_off_where_browsers_listen(folder: Path) -> None:
    for settings, sent in (({}, True), ({"host": "192.168.0.7"}, False), ({"host": "192.168.0.7", "base_url": "https://a.example"}, True)):
        with asking(folder, api_key=KEY, **settings) as client:
            assert ("cross-origin-opener-policy" in client.get("/health").headers) == sent


def test_a_cookie_of_another_key_is_nothing(folder: Path) -> None:
    with asking(folder, api_key=KEY) as client:
        cookie = client.post("/login", data={"key": KEY}, follow_redirects=False).cookies["dipole_session"]
        assert client.get("/items").status_code == 200
    with asking(folder, api_key="another-key-of-theirs") as client:
        assert client.get("/items", headers={"Cookie": f"dipole_session={cookie}"}).status_code == 401


def test_the_form_leads_nowhere_else(folder: Path) -> None:
    with asking(folder, api_key=KEY) as client:
        for evil in (
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "javascript:alert(1)",
            '/"><script>',
            "/\r\nSet-Cookie: a=b",
        ):
            form = client.get("/login", params={"next": evil})
            assert "<script" not in form.text and "evil.example" not in form.text
            location = client.post("/login", data={"key": KEY, "next": evil}, follow_redirects=False).headers["location"]
            assert re.match(r"/(?![/\\])", location) or location == "/"


# -- hosts, origins, headers -------------------------------------------------------------------------------------------


def test_on_loopback_only_names_of_this_machine_are_answered_to(folder: Path) -> None:
    with asking(folder, base_url="https://papers.example.org") as client:
        for host in ("127.0.0.1:8000", "localhost", "[::1]:80", "LOCALHOST:1", "papers.example.org"):
            assert client.get("/collections", headers={"Host": host}).status_code == 200, host
        for host in ("evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "", "localhost evil", "[::2]", "localhost:80:80"):
            assert client.get("/collections", headers={"Host": host}).status_code == 421, host
    with asking(folder, host="0.0.0.0", api_key=KEY) as client:
        assert client.get("/collections", headers={"Host": "anything.example", "X-API-Key": KEY}).status_code == 200


def test_pages_of_other_sites_change_nothing_and_read_nothing(folder: Path) -> None:
    body = {"texts": ["a"]}
    with asking(folder) as client:
        for headers in (
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
        ):
            assert client.post("/encode", json=body, headers=headers).status_code == 403
            assert "access-control-allow-origin" not in client.get("/search", params=ASK, headers=headers).headers
        for headers in ({"Origin": "http://127.0.0.1"}, {"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1"}, {}):
            assert client.post("/encode", json=body, headers=headers).status_code == 200
        asked = client.options("/search", headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"})
        assert asked.status_code in (403, 405) and not [name for name in asked.headers if name.startswith("access-control")]


def test_every_answer_carries_the_headers(folder: Path) -> None:
    with asking(folder, api_key=KEY) as client:
        key = {"X-API-Key": KEY}
        answers = [client.get(path, headers=key) for path in ("/health", "/search?q=a", "/nowhere", "/search", "/login", "/metrics")]
        for answer in (*answers, client.get("/items"), client.get("/items", headers={"Host": "evil.example"})):
            content = answer.headers["content-security-policy"]
            assert "unsafe-inline" not in content and "frame-ancestors 'none'" in content and "default-src 'none'" in content
            assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["referrer-policy"] == "same-origin"
            assert "server" not in answer.headers


def test_no_pages_that_load_scripts_of_others(folder: Path) -> None:
    with asking(folder) as client:
        assert client.get("/docs").status_code == client.get("/redoc").status_code == 404
        assert client.get("/openapi.json").json()["info"]["title"] == "dipole"


# -- rates, sizes, times -----------------------------------------------------------------------------------------------


def test_a_bucket_keeps_its_rate() -> None:
    now = [0.0]
    buckets = Buckets(rate=10, burst=5, clock=lambda: now[0])
    taken = 0
    for step in range(1000):  # ten seconds, a try every 10 ms
        now[0] = step / 100
        taken += buckets.take("a") == 0
    assert 5 + 99 <= taken <= 5 + 100
    assert buckets.take("b") == 0


def test_buckets_do_not_grow_without_bound() -> None:
    buckets = Buckets(rate=1, burst=1)
    for number in range(20_000):
        buckets.take(str(number))
    assert len(buckets._held) == 10_000


def test_too_many_requests_are_told_when_to_come_back(folder: Path) -> None:
    with asking(folder, rate=0.5, burst=3) as client:
        found = [client.get("/collections") for _ in range(5)]
        assert [answer.status_code for answer in found] == [200, 200, 200, 429, 429]
        assert 1 <= int(found[-1].headers["retry-after"]) <= 2 and found[-1].json()["status"] == 429
        assert client.get("/health").status_code == 200


def test_large_bodies_and_long_addresses_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, "max_url_bytes", 20_000)
    with asking(folder, max_body_bytes=1000) as client:
        assert client.post("/encode", json={"texts": ["a" * 2000]}).status_code == 413
        assert client.post("/encode", content=iter([b"x" * 600] * 3)).status_code == 413
        assert client.get("/search", params={"q": "x" * 20_001}).status_code == 414
        assert client.get("/search", params={"q": "x" * 2001}).status_code == 422
        assert client.get("/search", params={"q": "x" * 2000}).status_code == 200


def test_what_takes_too_long_or_comes_too_many_at_once_is_refused(folder: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    class Slow(Words):
        def encode(self, items, batch_size=32, progress=False, side=""):  # type: ignore[no-untyped-def]
            time.sleep(1.0 if "slow" in items[0] else 0)
            return super().encode(items)

    with asking(folder, Slow(), request_seconds=0.3, concurrency=2) as client, ThreadPoolExecutor(4) as pool:
        start = time.monotonic()
        answers = list(pool.map(lambda i: client.get("/search", params={"q": f"slow {i}"}), range(4)))
        assert time.monotonic() - start < 0.9
        assert [answer.status_code for answer in answers] == [503] * 4
        assert sorted("longer than" in answer.json()["detail"] for answer in answers) == [False, False, True, True]
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
        assert client.get("/health").status_code == 200
        time.sleep(2.2)  # the threads end, and their places are free again
        assert client.get("/search", params=ASK).status_code == 200


def test_a_failure_tells_nothing(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Words):
        def encode(self, items, batch_size=32, progress=False, side=""):  # type: ignore[no-untyped-def]
            if "break" in items[0]:
                raise RuntimeError(f"secret path {folder}")
            return super().encode(items)

    with asking(folder, Broken()) as client:
        answer = client.get("/search", params={"q": "break"})
        assert answer.status_code == 500 and answer.headers["content-type"] == "application/problem+json"
        assert str(folder) not in answer.text and "Traceback" not in answer.text and "secret" not in answer.text
        assert "secret path" in caplog.text
        assert client.get("/search", params=ASK).status_code == 200


# -- in words -----------------------------------------------------------------------------------------------------------


def test_people_are_refused_by_a_page_and_programs_by_a_problem(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, "max_url_bytes", 20_000)

    class Slow(Words):
        def encode(self, items, batch_size=32, progress=False, side=""):  # type: ignore[no-untyped-def]
            time.sleep(0.4 if "slow" in items[0] else 0)
            return super().encode(items)

    def refused(client, method: str, path: str, **sent):  # type: ignore[no-untyped-def]
        """The page's answer, once it is certain that programs get the same as a problem document."""
        for accept in ("text/html,application/xhtml+xml,*/*;q=0.8", "*/*"):
            answer = client.request(method, path, **{**sent, "headers": {**sent.get("headers", {}), "Accept": accept}})
            assert answer.headers["cache-control"] == "no-store" and "set-cookie" not in answer.headers, path
            if accept == "*/*":
                assert answer.headers["content-type"] == "application/problem+json" and answer.json()["status"] == answer.status_code
            else:
                page = answer
        assert page.status_code == answer.status_code and page.headers.get("retry-after") == answer.headers.get("retry-after")
        assert page.headers["content-type"].startswith("text/html") and f'<p class="code">{page.status_code}</p>' in page.text
        assert "papers" not in page.text and "1 document" not in page.text and "<form" not in page.text  # a stranger may be asking
        assert "default-src 'none'" in page.headers["content-security-policy"]
        said = html.unescape(page.text)
        assert answer.json()["detail"][1:] in said
        return page.status_code, said

    with asking(folder, Slow(), max_body_bytes=100, request_seconds=0.2) as client:
        found = dict(
            [
                refused(client, "GET", "/", headers={"Host": "evil.example"}),
                refused(client, "POST", "/mark", headers={"Origin": "https://evil.example"}),
                refused(client, "POST", "/mark", content=b"x" * 200),
                refused(client, "GET", "/find?q=" + "x" * 20_001),
                refused(client, "GET", "/find?q=slow"),
            ]
        )
    assert sorted(found) == [403, 413, 414, 421, 503] and "longer than 0.2 s" in found[503]
    with asking(folder, rate=0.01, burst=1) as client:
        client.get("/collections")
        status, said = refused(client, "GET", "/")
        assert status == 429 and "Too fast" in said
    with asking(folder, api_key=KEY) as client:
        assert refused(client, "GET", "/", headers={"X-API-Key": "guess"})[0] == 401
        for number in range(10):
            client.get("/", headers={"X-API-Key": f"guess {number}"})
        assert refused(client, "GET", "/", headers={"X-API-Key": "guess"})[0] == 429
