"""What is served and what is refused: at the start, and when somebody commits."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

pytest.importorskip("fastapi")
pytest.importorskip("lancedb")

from dipole.core.errors import ModelMismatchError, UsageError
from dipole.search.collection import Collection
from dipole.search.documents import Document
from dipole.serve import shelf as shelves
from dipole.serve.batched import Batched
from dipole.serve.shelf import Shelf
from tests.serving import Words, asking, shelved

ONE, TWO = [Document("a", "one")], [Document("b", "two")]


def test_there_must_be_a_collection(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path, tmp_path / "none", tmp_path / "file"):
        with pytest.raises(UsageError, match="neither a collection nor a folder of collections; make one with"):
            Shelf(folder, Words)


def test_a_collection_of_another_model_is_refused_at_the_start_by_name(tmp_path: Path) -> None:
    folder = shelved(tmp_path / "papers", ONE, Words("theirs"))
    shelf = Shelf(folder, Words, model="ours")
    with pytest.raises(ModelMismatchError, match=r"collection 'papers' was made by 'theirs' .*, the model served is 'ours'"):
        shelf.open()
    assert not shelf.ready


def test_a_collection_of_another_dimension_is_refused_by_name(tmp_path: Path) -> None:
    class Liar(Words):
        identity = "0" * 64

    folder = shelved(tmp_path / "papers", ONE, Liar(dimension=8))
    with pytest.raises(ModelMismatchError, match=r"collection 'papers' has vectors of 8 dimensions, the model 'words' gives 16"):
        Shelf(folder, lambda name: Liar(name)).open()


def test_a_new_commit_takes_the_place_of_the_old_one_and_whoever_began_with_it_goes_on(tmp_path: Path) -> None:
    folder = shelved(tmp_path / "papers", ONE)
    shelf = Shelf(folder, Words)
    shelf.open()
    before = shelf.get()
    Collection.open(folder).append(TWO, Words())
    shelf.refresh()
    assert [d.id for d in shelf.get().collection.browse("stored")] == ["a", "b"]
    assert [d.id for d in before.collection.browse("stored")] == ["a"] and [h.id for h in before.search("two")] == ["a"]
    assert shelf.reloads == 1 and shelf.get().version != before.version
    shelf.refresh()
    assert shelf.reloads == 1
    Collection.open(folder).rollback(1)
    shelf.refresh()
    assert len(shelf.get().collection) == 1 and shelf.get().version != before.version


def test_a_commit_has_been_asked_everything_once_before_anybody_asks_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shelved(tmp_path / "papers", ONE)
    shelf = Shelf(folder, Words)
    asked: list[tuple[str, int, int]] = []
    for name in ("search_vectors", "search_words", "similar", "browse"):

        def told(held: Collection, *given: object, name: str = name, true: object = getattr(Collection, name), **more: object) -> object:
            served = shelf.get().collection.manifest.number if shelf.ready else 0
            asked.append((name, held.manifest.number, served))
            return true(held, *given, **more)  # type: ignore[operator]

        monkeypatch.setattr(Collection, name, told)
    shelf.open()
    assert {(name, 1, 0) for name in ("search_vectors", "search_words", "similar", "browse")} == set(asked)
    asked.clear()
    Collection.open(folder).append(TWO, Words())
    shelf.refresh()
    assert {(name, 2, 1) for name in ("search_vectors", "search_words", "similar", "browse")} == set(asked)


def test_a_commit_whose_table_is_damaged_is_refused_and_the_old_stays(tmp_path: Path) -> None:
    folder = shelved(tmp_path / "papers", ONE)
    shelf = Shelf(folder, Words)
    shelf.open()
    made = Collection.rebuild(folder, TWO, Words())
    for file in (folder / f"{made.manifest.table}.lance" / "data").iterdir():
        file.write_bytes(b"nothing" * 100)
    shelf.refresh()
    assert "papers" in shelf.refused and str(tmp_path) not in shelf.refused["papers"] and shelf.get().search("one")


def test_an_empty_collection_that_gets_documents_is_taken_up(tmp_path: Path) -> None:
    folder = shelved(tmp_path / "papers", [])
    shelf = Shelf(folder, Words)
    shelf.open()
    Collection.open(folder).append(ONE, Words())
    shelf.refresh()
    assert [hit.id for hit in shelf.get().search("one")] == ["a"]


def test_whatever_keeps_a_model_from_loading_ends_the_start(tmp_path: Path) -> None:
    def load(name: str) -> Words:
        raise RuntimeError("no memory left")

    shelf, ended = Shelf(shelved(tmp_path / "papers", ONE), load), threading.Event()
    shelf.start(1.0, ended.set)
    assert ended.wait(10) and "no memory left" in str(shelf.failure) and not shelf.ready
    shelf.close()


def test_what_cannot_be_served_is_refused_by_name_and_the_old_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = shelved(tmp_path / "papers", ONE)
    with asking(folder, reload_seconds=0.05) as client:
        Collection.rebuild(folder, TWO, Words("theirs"))

        def refused() -> str:
            return str(client.get("/health").json()["refused"].get("papers", ""))

        end = time.monotonic() + 10
        while not refused() and time.monotonic() < end:
            time.sleep(0.02)
        said = "collection 'papers' is now of model 'theirs'"
        assert said in refused() and said in caplog.text and str(tmp_path) not in refused()
        assert client.get("/health").status_code == 200 and client.get("/items/a").status_code == 200
        assert 'dipole_commit_refused{collection="papers"} 1.0' in client.get("/metrics").text
        assert sum(said in record.getMessage() for record in caplog.records) == 1  # said once, not every second
        Collection.rebuild(folder, TWO, Words())
        while refused() and time.monotonic() < end:
            time.sleep(0.02)
        assert not refused() and client.get("/items/b").status_code == 200


def test_a_commit_that_was_refused_is_tried_again_only_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(name: str) -> Words:
        asked.append(name)
        if name != "words":
            raise UsageError(f"model '{tmp_path}/models/{name}': no such folder")
        return Words(name)

    shelved(tmp_path / "a", ONE)
    shelf = Shelf(tmp_path, load)
    shelf.open()
    shelved(tmp_path / "b", TWO, Words("theirs"))
    for _ in range(3):
        shelf.refresh()
        assert list(shelf.names) == ["a"] and "no such folder" in shelf.refused["b"] and str(tmp_path) not in shelf.refused["b"]
    assert asked == ["words", "theirs"]
    monkeypatch.setattr(shelves, "_AGAIN", 0.0)  # the reason may be gone by then: a full disk, too many open files
    shelf.refresh()
    assert asked == ["words", "theirs", "theirs"]
    Collection.rebuild(tmp_path / "b", TWO, Words())
    shelf.refresh()
    assert list(shelf.names) == ["a", "b"] and not shelf.refused


def test_a_damaged_manifest_is_refused_and_the_old_stays(tmp_path: Path) -> None:
    folder = shelved(tmp_path / "papers", ONE)
    shelf = Shelf(folder, Words)
    shelf.open()
    (folder / "collection.json").write_text("{")
    shelf.refresh()
    assert "damaged" in shelf.refused["papers"] and str(tmp_path) not in shelf.refused["papers"]
    assert shelf.get().search("one")


def test_collections_come_and_go(tmp_path: Path) -> None:
    import shutil

    shelved(tmp_path / "a", ONE)
    shelf = Shelf(tmp_path, Words)
    shelf.open()
    shelved(tmp_path / "b", TWO)
    shelf.refresh()
    assert list(shelf.names) == ["a", "b"]
    shutil.rmtree(tmp_path / "a")
    shelf.refresh()
    assert list(shelf.names) == ["b"] and shelf.get().name == "b"


def test_while_loading_health_says_503_with_the_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from starlette.testclient import TestClient

    from dipole.serve.app import create_app
    from dipole.serve.settings import Settings

    go = threading.Event()

    def load(name: str) -> Words:
        go.wait(10)
        return Words(name)

    app = create_app(Settings(shelved(tmp_path / "papers", ONE)), load)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        health, search = client.get("/health"), client.get("/search", params={"q": "one"})
        assert health.status_code == 503 and health.json()["status"] == "loading" and "being opened" in health.json()["reason"]
        assert search.status_code == 503 and "retry-after" in search.headers
        go.set()
        while client.get("/health").status_code == 503:
            time.sleep(0.01)
        assert client.get("/search", params={"q": "one"}).status_code == 200


# -- many threads, one model -------------------------------------------------------------------------------------------


class Counting(Words):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[str]] = []

    def encode(self, items, batch_size=32, progress=False, side=""):  # type: ignore[no-untyped-def]
        self.calls.append(list(items))
        time.sleep(0.02)
        return super().encode(items)


def test_threads_share_batches_and_get_their_own_vectors() -> None:
    inner = Counting()
    model = Batched(inner)
    texts = [f"word{i}" for i in range(64)]
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda text: model.encode([text], side="queries"), texts))
    torch.testing.assert_close(torch.cat(found), Words().encode(texts))
    assert len(inner.calls) < 20  # 64 texts
    before = len(inner.calls)
    torch.testing.assert_close(model.encode(texts[::-1], side="queries"), Words().encode(texts[::-1]))
    assert len(inner.calls) == before and model.hits == 64
    model.close()


def test_the_memory_of_vectors_is_bounded_and_by_side() -> None:
    inner = Counting()
    model = Batched(inner, remember=10)
    model.encode([f"t{i}" for i in range(50)], side="queries")
    assert len(model._known) == 10
    model.encode(["t49"], side="keys")
    assert inner.calls[-1] == ["t49"]
    model.close()


def test_a_failure_reaches_whoever_asked_and_no_one_else() -> None:
    class Broken(Words):
        def encode(self, items, batch_size=32, progress=False, side=""):  # type: ignore[no-untyped-def]
            if "bad" in items:
                raise ValueError("bad text")
            return super().encode(items)

    model = Batched(Broken())
    with pytest.raises(ValueError, match="bad text"):
        model.encode(["bad"], side="queries")
    asked: list[Future[torch.Tensor]] = [Future(), Future()]
    model._encode("queries", [("bad", asked[0]), ("good", asked[1])])  # in one batch
    assert asked[0].exception() is not None
    torch.testing.assert_close(asked[1].result()[None], Words().encode(["good"]))
    model.close()


def test_logging_says_what_is_served(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "dipole.serve"):
        Shelf(shelved(tmp_path / "papers", ONE), Words).open()
    assert "serving papers: 1 documents, commit 1" in caplog.text
