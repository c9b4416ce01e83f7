"""A whole server on a port: how it starts, stops, takes up commits under load, and what it stands."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("lancedb")
import httpx

from dipole.cli.main import main
from dipole.core.errors import UsageError
from dipole.core.files import own_folder
from dipole.search.collection import Collection
from dipole.search.documents import Document
from tests.serving import Server, Words, asking, serving, shelved

PAPERS = [Document(f"doc/{number}", f"text number {number}") for number in range(200)]


def connect(server: Server, sent: bytes) -> socket.socket:
    one = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    one.sendall(sent)
    return one


def received(one: socket.socket) -> bytes:
    """Everything until the other side closes."""
    found = b""
    with one, contextlib.suppress(ConnectionResetError):
        while piece := one.recv(65536):
            found += piece
    return found


def test_requests_under_way_are_finished_when_it_is_told_to_stop(tmp_path: Path) -> None:
    with serving(shelved(tmp_path / "papers", PAPERS), pause=1.5) as server, ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(httpx.get, f"{server.url}/search", params={"q": f"text {i}"}, timeout=30) for i in range(8)]
        while "dipole_requests_in_progress 9.0" not in httpx.get(f"{server.url}/metrics", timeout=30).text:
            assert not any(one.done() for one in asked)
        server.process.send_signal(signal.SIGTERM)
        answers = [one.result() for one in asked]
        assert [answer.status_code for answer in answers] == [200] * 8
        assert all(len(answer.json()["results"]) == 10 for answer in answers)
        assert server.process.wait(timeout=20) in (0, -signal.SIGTERM)
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{server.url}/health")
        assert "Traceback" not in server.log()


def test_a_new_commit_is_taken_up_while_eight_clients_ask_and_no_request_fails(tmp_path: Path) -> None:
    folder = shelved(tmp_path / "papers", PAPERS)
    with serving(folder, reload_seconds=0.1, rate=0) as server:
        stop, seen, failed = threading.Event(), [0] * 8, []

        def hammer(number: int) -> None:
            with httpx.Client(base_url=server.url, timeout=30) as client:
                while not stop.is_set():
                    for path in (f"/search?q=text+{number}+{seen[number]}", "/items?order=trending", "/similar/doc/7?k=3", "/items/doc/1"):
                        answer = client.get(path)
                        seen[number] += 1
                        if answer.status_code != 200:
                            failed.append((path, answer.text))

        threads = [threading.Thread(target=hammer, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        model = Words()
        for number in range(6):
            Collection.open(folder).append([Document(f"new/{number}", f"zebra number {number}")], model)
            if number == 3:
                Collection.open(folder).compact()
            end, asked = time.monotonic() + 30, min(seen)
            while httpx.get(f"{server.url}/items/new/{number}").status_code != 200 or min(seen) < asked + 4:
                assert time.monotonic() < end, "the new document never appeared"
                time.sleep(0.05)
        found = httpx.get(f"{server.url}/search", params={"q": "zebra", "how": "words"}).json()["results"]
        stop.set()
        for thread in threads:
            thread.join()
        assert not failed and min(seen) >= 24
        assert {one["id"] for one in found} == {f"new/{number}" for number in range(6)}
        # A commit between two looks is passed over: at least one reload, at most one a commit.
        metrics = httpx.get(f"{server.url}/metrics").text
        reloads = next(float(line.split()[1]) for line in metrics.splitlines() if line.startswith("dipole_reloads_total"))
        assert 6 <= reloads <= 7


def test_no_request_fails_while_it_is_compacted_again_and_again_between_two_looks(tmp_path: Path) -> None:
    folder = shelved(tmp_path / "papers", PAPERS)
    with serving(folder, reload_seconds=2.0, rate=0) as server:
        stop, seen, failed = threading.Event(), [0] * 4, []

        def hammer(number: int) -> None:
            with httpx.Client(base_url=server.url, timeout=30) as client:
                while not stop.is_set():
                    id = f"doc/{seen[number] % 200}"
                    for path in (f"/items/{id}", f"/similar/{id}?k=3", f"/search?q=text+{id}&how=hybrid", "/items?order=newest&limit=50"):
                        answer = client.get(path)
                        if answer.status_code != 200:
                            failed.append((path, answer.text))
                    seen[number] += 1

        threads = [threading.Thread(target=hammer, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + 5
        while time.monotonic() < end:  # more than two looks, with several commits between each
            Collection.open(folder).compact()
        asked = min(seen)
        while min(seen) < asked + 2:
            time.sleep(0.05)
        stop.set()
        for thread in threads:
            thread.join()
        metrics = httpx.get(f"{server.url}/metrics").text
        assert not failed, failed[:3]
        assert 'dipole_commit_refused{collection="papers"} 0.0' in metrics and "dipole_reloads_total 0.0" not in metrics
    Collection.open(folder).append([Document("last", "last")], Words())
    assert len(list(folder.glob("rows-*.lance"))) == 2  # those that commits name: nothing piles up


def test_headers_and_bodies_that_come_a_byte_at_a_time_hold_nothing(tmp_path: Path) -> None:
    with serving(shelved(tmp_path / "papers", PAPERS), header_seconds=1.0, body_seconds=1.0) as server:
        start = time.monotonic()
        head = b"POST /encode HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        silent = connect(server, b"")
        headers = [connect(server, b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: ") for _ in range(50)]
        body = connect(server, head + b"Content-Length: 500\r\n\r\n{")
        second = connect(server, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /hea")  # slow from the second request on
        while time.monotonic() - start < 0.8:
            assert httpx.get(f"{server.url}/items?limit=1").status_code == 200
            for one in headers:
                one.sendall(b"a")
            body.sendall(b" ")
            time.sleep(0.1)
        assert received(silent).startswith(b"HTTP/1.1 408")
        assert all(received(one).startswith(b"HTTP/1.1 408") for one in headers)
        answer = received(body)
        assert answer.startswith(b"HTTP/1.1 408") and b"problem+json" in answer
        assert received(second).startswith(b"HTTP/1.1 200")
        assert time.monotonic() - start < 8
        assert httpx.get(f"{server.url}/health").status_code == 200


def test_what_is_no_http_ends_one_connection_and_nothing_else(tmp_path: Path) -> None:
    with serving(shelved(tmp_path / "papers", PAPERS)) as server:
        host = b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        for sent in (
            b"\x00\xff\xfe\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00",  # TLS
            b"GET /search?q=" + b"x" * 10_000_000 + host + b"\r\n",
            b"GET /health" + host + b"X-Long: " + b"y" * 200_000 + b"\r\n\r\n",
            b"POST /encode" + host + b"Content-Length: -1\r\n\r\n",
            b"POST /encode" + host + b"Content-Length: 10000000\r\n\r\n",
            b"POST /encode" + host + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"POST /encode" + host + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"GET /items/%ff%fe%00" + host + b"\r\n",
            b"GET /search?q=%ff%fe%00%ed%a0%80" + host + b"\r\n",
            b"GET http://evil.example/items" + host + b"\r\n",
            b"FOO /items" + host + b"\r\n",
        ):
            one = socket.create_connection(("127.0.0.1", server.port), timeout=20)
            with contextlib.suppress(OSError):  # it may hang up before everything was sent
                one.sendall(sent)
                one.shutdown(socket.SHUT_WR)
            answer = received(one)
            assert not answer or 200 <= int(answer.split()[1]) < 500, (sent[:60], answer[:200])
        for id in ("%2F", "a%2Fb"):  # an id that itself looks quoted is told from what it stands for
            assert httpx.get(f"{server.url}/items/{id.replace('%', '%25')}").json()["status"] == 404
        assert httpx.get(f"{server.url}/health").status_code == 200
        server.process.terminate()
        server.process.wait(timeout=20)
        assert "Traceback" not in server.log()


def test_an_answer_is_not_held_back_to_save_packets(tmp_path: Path) -> None:
    with serving(shelved(tmp_path / "papers", PAPERS), rate=0) as server, httpx.Client(base_url=server.url) as client:
        times = []
        for _ in range(40):
            start = time.perf_counter()
            client.get("/items/doc/1")
            times.append(time.perf_counter() - start)
        assert min(times) < 0.03, min(times)  # what waits for an acknowledgement waits 40 ms, each time


def resident(server: Server) -> float:
    """Megabytes the server holds."""
    if not Path("/proc/self/statm").exists():
        pytest.skip("memory is read from /proc")
    return int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * 4096 / 1e6


def test_memory_does_not_grow_over_thousands_of_requests(tmp_path: Path) -> None:
    with serving(shelved(tmp_path / "papers", PAPERS), rate=0) as server, httpx.Client(base_url=server.url) as client:

        def ask(first: int, count: int) -> None:
            for number in range(first, first + count):
                assert client.get("/search", params={"q": f"query {number}"}).status_code == 200
                client.get(f"/items/none/{number}")

        ask(0, 300)
        before = resident(server)
        ask(1000, 1000)
        assert resident(server) - before < 25, (before, resident(server))


def test_memory_does_not_grow_with_the_shapes_of_batches(tmp_path: Path) -> None:
    with serving(shelved(tmp_path / "papers", PAPERS[:1]), rate=0, wide=1536) as server, httpx.Client(base_url=server.url) as client:
        for number in range(801):
            texts = [f"{number} {place} " + "word " * (3 + number // 32) for place in range(32 - number % 32)]
            assert client.post("/encode", json={"texts": texts}).status_code == 200
            if number == 0:
                before = resident(server)
        assert resident(server) - before < 60, (before, resident(server))


def test_a_client_is_who_connects_unless_a_named_proxy_says_otherwise(tmp_path: Path) -> None:
    folder = shelved(tmp_path / "papers", PAPERS[:1])
    for proxies, wanted in (((), [200] * 5 + [429] * 3), (("127.0.0.1",), [200] * 8)):
        with serving(folder, rate=0.01, burst=5, proxies=proxies) as server:
            found = [httpx.get(f"{server.url}/collections", headers={"X-Forwarded-For": f"10.0.0.{i}"}).status_code for i in range(8)]
            assert found == wanted


def test_a_collection_that_cannot_be_served_ends_it_with_the_reason(tmp_path: Path) -> None:
    server = Server(shelved(tmp_path / "papers", PAPERS, Words("theirs")), model="ours")
    with contextlib.closing(server):
        assert server.process.wait(timeout=60) == 1
        said = server.log()
    assert "collection 'papers' was made by 'theirs'" in said and "the model served is 'ours'" in said


def test_wrong_calls_end_with_2_and_the_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(shelved(tmp_path / "papers", PAPERS[:1]))
    empty = tmp_path / "key"
    empty.write_text("\n")
    monkeypatch.delenv("DIPOLE_API_KEY", raising=False)
    for arguments, said in (
        ([folder, "--host", "0.0.0.0"], "can be reached from other machines, which needs an API key; make one with"),
        ([folder, "--host", "0.0.0.0", "--api-key-file", str(empty)], "the file is empty"),
        ([folder, "--api-key-file", str(tmp_path / "none")], "cannot be read"),
        ([folder, "--base-url", "papers.example.org"], "base_url must be an http or https address"),
        ([str(tmp_path / "nothing")], "neither a collection nor a folder of collections"),
    ):
        assert main(["serve", *arguments]) == 2
        assert said in capsys.readouterr().err
    monkeypatch.setenv("DIPOLE_API_KEY", "short")
    assert main(["serve", folder, "--host", "0.0.0.0"]) == 2
    assert "at least 16" in capsys.readouterr().err


def test_a_collection_that_may_only_be_read_is_served_with_its_state_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shelved(tmp_path / "papers", PAPERS[:3])
    (folder / "state").write_text("in the place of the folder: it cannot be made")
    for command in ("serve", "digest"):
        assert main([command, str(folder)]) == 2
        said = capsys.readouterr().err
        assert "cannot be written to: File exists; votes and subscribers are kept there" in said and "--state DIR" in said
    before = sorted(folder.rglob("*"))
    with asking(folder, state=tmp_path / "kept" / "here") as client:
        page = client.get("/item/doc/1").text
        token = page.partition('name="token" value="')[2].partition('"')[0]
        assert client.post("/mark", data={"token": token, "id": "doc/1", "do": "vote"}, follow_redirects=False).status_code == 303
        assert client.get("/items/doc/1").json()["votes"] == 1 and client.get("/search?q=text").status_code == 200
        assert client.get("/map").status_code == 200
    assert sorted(folder.rglob("*")) == before and (tmp_path / "kept" / "here" / "page.sqlite").exists()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path / "kept" and access(path, mode))  # root may write anywhere
    with pytest.raises(UsageError, match=r"kept cannot be written to: it may not be written; .*--state DIR"):
        own_folder(tmp_path / "kept")


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    folder = shelved(tmp_path / "papers", PAPERS[:1])
    with serving(folder) as server:
        with contextlib.closing(Server(folder, server.port)) as second:
            assert second.process.wait(timeout=60) == 1  # a traceback here: the command line makes it 2
            assert f"cannot listen on 127.0.0.1 port {server.port}" in second.log()
        assert main(["serve", str(folder), "--port", str(server.port)]) == 2
        assert server.process.poll() is None
