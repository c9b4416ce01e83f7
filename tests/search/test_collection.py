"""Collections: the answers are exact, a write is all or nothing, vectors of another model are refused."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import pytest
import torch

from dipole.core.errors import DataError, ModelMismatchError, ParameterError, UsageError
from dipole.search import manifest, table
from dipole.search.collection import Collection
from dipole.search.documents import Document, documents_of
from dipole.search.filters import Filter

lancedb = pytest.importorskip("lancedb")
pyarrow = pytest.importorskip("pyarrow")


class Letters:
    """A model without weights: a text's vector is drawn from a generator seeded by the text."""

    def __init__(self, model: str = "letters", dimension: int = 8, bad: str = "", pause: float = 0.0) -> None:
        self.model, self.dimension, self.bad, self.pause = model, dimension, bad, pause
        self.sides: list[str] = []

    @property
    def identity(self) -> str:
        return f"{self.model}-{self.dimension}".ljust(64, "0")

    def encode(self, items: Sequence[str], batch_size: int = 32, progress: bool = False, side: str = "") -> torch.Tensor:
        self.sides.append(side)
        time.sleep(self.pause)
        rows = []
        for text in items:
            seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "big")
            vector = torch.randn(self.dimension, generator=torch.Generator().manual_seed(seed))
            if text == self.bad:
                vector = torch.zeros(self.dimension) if text.startswith("zero") else vector * torch.nan
            rows.append(torch.nn.functional.normalize(vector, dim=0) if text != self.bad else vector)
        return torch.stack(rows) if rows else torch.empty(0, self.dimension)


def numbered(start: int, stop: int) -> list[Document]:
    return [Document(str(i), f"{i:06d}", {"parity": i % 2}) for i in range(start, stop)]


def tables(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.suffix == ".lance")


def test_answers_equal_a_sorted_dense_product_over_many_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "READ_ROWS", 37)
    model = Letters()
    collection = Collection.create(tmp_path / "c", numbered(0, 500), model)
    queries = ["what", "is", "near"]
    dense = model.encode(queries) @ model.encode([d.text for d in numbered(0, 500)]).T
    for hits, row in zip(Collection.open(tmp_path / "c").search(queries, model, k=7), dense, strict=True):
        expected = sorted(range(500), key=lambda i: -float(row[i]))[:7]
        assert [hit.id for hit in hits] == [str(i) for i in expected]
        assert [hit.metadata["parity"] for hit in hits] == [i % 2 for i in expected]
        assert [hit.text for hit in hits] == [f"{i:06d}" for i in expected]
        torch.testing.assert_close(torch.tensor([hit.score for hit in hits]), row[expected])
    assert len(collection) == 500


def test_sides_are_told_to_the_model(tmp_path: Path) -> None:
    model = Letters()
    Collection.create(tmp_path / "c", numbered(0, 3), model).search(["x"], model)
    assert model.sides == ["keys", "queries"]


def test_equal_scores_come_in_the_order_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "READ_ROWS", 2)
    same = [Document(str(i), "same text") for i in range(7)]
    model = Letters()
    hits = Collection.create(tmp_path / "c", same, model).search(["same text"], model, k=5)[0]
    assert [hit.id for hit in hits] == ["0", "1", "2", "3", "4"]


def test_one_row_and_more_asked_than_there_is(tmp_path: Path) -> None:
    model = Letters()
    hits = Collection.create(tmp_path / "c", numbered(0, 1), model).search(["x"], model, k=10)[0]
    assert [hit.id for hit in hits] == ["0"]


def test_an_empty_collection_answers_with_nothing_and_can_grow(tmp_path: Path) -> None:
    model = Letters()
    empty = Collection.create(tmp_path / "c", [], model)
    assert len(empty) == 0
    assert empty.search(["x", "y"], model) == [[], []]
    assert len(empty.append(numbered(0, 2), model)) == 2
    assert len(Collection.open(tmp_path / "c").search(["x"], model)[0]) == 2


def test_append_adds_and_leaves_an_open_reader_alone(tmp_path: Path) -> None:
    model = Letters()
    before = Collection.create(tmp_path / "c", numbered(0, 5), model)
    after = before.append(numbered(5, 9), model)
    assert [len(before.search(["x"], model)[0]), len(after.search(["x"], model)[0])] == [5, 9]
    assert {hit.id for hit in Collection.open(tmp_path / "c").search(["x"], model)[0]} == {str(i) for i in range(9)}


def test_append_after_a_write_that_never_counted_leaves_it_out(tmp_path: Path) -> None:
    model = Letters()
    collection = Collection.create(tmp_path / "c", numbered(0, 5), model)
    block = numbered(100, 103)
    table.write_more(collection.folder, collection.manifest, [table.Block(block, model.encode([d.text for d in block]))])  # killed here
    assert len(collection.search(["x"], model)[0]) == 5
    assert {hit.id for hit in collection.append(numbered(5, 7), model).search(["x"], model)[0]} == {str(i) for i in range(7)}


def test_rebuild_replaces_and_the_old_table_goes_with_its_commit(tmp_path: Path) -> None:
    Collection.create(tmp_path / "c", numbered(0, 5), Letters())
    other = Letters("other", dimension=4)
    rebuilt = Collection.rebuild(tmp_path / "c", numbered(0, 3), other)
    assert (len(rebuilt), rebuilt.model, rebuilt.manifest.dimension) == (3, "other", 4)
    assert len(tables(tmp_path / "c")) == 2
    assert len(rebuilt.rollback(1).search(["x"], Letters(), k=9)[0]) == 5
    del rebuilt  # what somebody reads stays
    small = Collection.open(tmp_path / "c").rollback(2).compact(keep=1)
    assert tables(tmp_path / "c") == [f"{small.manifest.table}.lance"]
    assert len(small.search(["x"], other, k=9)[0]) == 3


def test_another_model_is_refused_by_both_names(tmp_path: Path) -> None:
    collection = Collection.create(tmp_path / "c", numbered(0, 3), Letters())
    with pytest.raises(ModelMismatchError, match=r"'letters'.*'retrained'"):
        collection.search(["x"], Letters("retrained"))
    with pytest.raises(ModelMismatchError, match=r"'letters'.*'retrained'"):
        collection.append(numbered(3, 4), Letters("retrained"))
    assert len(Collection.open(tmp_path / "c")) == 3


def test_another_dimension_is_refused(tmp_path: Path) -> None:
    collection = Collection.create(tmp_path / "c", numbered(0, 3), Letters())
    with pytest.raises(ModelMismatchError, match=r"8 dimensions, the query's 5"):
        collection.search_vectors(torch.ones(1, 5))


@pytest.mark.parametrize(("bad", "named"), [("nan here", "NaN"), ("zero here", "zero vector")])
def test_bad_vectors_are_refused_with_their_row_and_nothing_is_written(tmp_path: Path, bad: str, named: str) -> None:
    model = Letters(bad=bad)
    documents = [*numbered(0, 1500), Document("bad", bad)]
    with pytest.raises(DataError, match=rf"row 1500 .*{named}"):
        Collection.create(tmp_path / "c", documents, model)
    assert not (tmp_path / "c").exists()
    Collection.create(tmp_path / "c", numbered(0, 3), model)
    with pytest.raises(DataError, match=named):
        Collection.open(tmp_path / "c").search([bad], model)


def test_nan_in_stored_vectors_is_refused_with_its_row(tmp_path: Path) -> None:
    model = Letters()
    collection = Collection.create(tmp_path / "c", numbered(0, 3), model)
    table = lancedb.connect(str(collection.folder)).open_table(collection.manifest.table).to_arrow()
    values = table.column("vector").combine_chunks().flatten().to_numpy().copy()
    values[8 + 2] = math.nan
    damaged = table.set_column(table.column_names.index("vector"), "vector", pyarrow.FixedSizeListArray.from_arrays(values, 8))
    lancedb.connect(str(collection.folder)).create_table("rows-bad", damaged, on_bad_vectors="fill", fill_value=math.nan)
    manifest.commit(collection.folder, dataclasses.replace(collection.manifest, table="rows-bad", version=1))
    with pytest.raises(DataError, match=r"row 1 holds NaN.*rebuild"):
        Collection.open(tmp_path / "c").search(["x"], model)


def test_an_id_twice_is_refused_whole(tmp_path: Path) -> None:
    model = Letters()
    with pytest.raises(DataError, match=r"line 3.*already taken.*'0'"):
        Collection.create(tmp_path / "c", [*numbered(0, 2), *numbered(0, 1)], model)
    collection = Collection.create(tmp_path / "c", numbered(0, 2), model)
    with pytest.raises(DataError, match="already taken"):
        collection.append(numbered(1, 4), model)
    assert len(Collection.open(tmp_path / "c").search(["x"], model)[0]) == 2


def test_a_failed_rebuild_leaves_the_old_one(tmp_path: Path) -> None:
    model = Letters()
    Collection.create(tmp_path / "c", numbered(0, 4), model)
    was = sorted(path.name for path in (tmp_path / "c").iterdir())
    with pytest.raises(DataError):
        Collection.rebuild(tmp_path / "c", [*numbered(0, 2000), Document("0", "again")], model)
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == was
    assert len(Collection.open(tmp_path / "c").search(["x"], model)[0]) == 4


def test_a_full_disk_at_the_last_step_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Letters()
    Collection.create(tmp_path / "c", numbered(0, 4), model)
    was = sorted(path.name for path in (tmp_path / "c").iterdir())

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        Collection.rebuild(tmp_path / "c", numbered(0, 9), model)
    monkeypatch.undo()
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == was
    assert len(Collection.open(tmp_path / "c").search(["x"], model)[0]) == 4


@pytest.mark.parametrize("what", ["append", "upsert", "delete", "compact", "index", "rebuild", "rollback"])
def test_a_disk_without_room_leaves_what_was_there(tmp_path: Path, what: str) -> None:
    model, folder = Letters(), tmp_path / "c"
    made = Collection.create(folder, numbered(0, 1200), model).append(numbered(1200, 1210), model)
    write: Callable[[], object] = {
        "append": lambda: made.append(numbered(2000, 2100), model),
        "upsert": lambda: made.upsert([Document("0", "changed"), *numbered(2000, 2100)], model),
        "delete": lambda: made.delete(["1"]),
        "compact": made.compact,
        "index": lambda: made.index("ivf-flat", recall=0.1, queries=2),
        "rebuild": lambda: Collection.rebuild(folder, numbered(0, 9), model),
        "rollback": lambda: made.rollback(1),
    }[what]
    was = tables(folder)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, hard))  # no file can grow beyond, which Lance meets as it meets a full disk
    try:
        with pytest.raises(OSError if what == "rollback" else DataError, match=r"File too large|could not be written"):
            write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert Collection.open(folder).manifest == made.manifest and tables(folder) == was
    assert len(Collection.open(folder).search(["x"], model, k=2000)[0]) == 1210
    write()
    assert Collection.open(folder).manifest.number == 3


def test_a_lock_that_was_taken_away_before_it_was_held_is_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, taken = fcntl.flock, []

    def flock(lock: IO[str], how: int) -> None:
        if not taken:  # what another writer does at its end when nothing came of it
            taken.append((tmp_path / "c" / ".lock").unlink())
        real(lock, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with manifest.writing(tmp_path / "c"), pytest.raises(UsageError, match="another process"), manifest.writing(tmp_path / "c"):
        pass


KILLED = """
import sys
sys.path.insert(0, {here!r})
from test_collection import Letters, numbered
from dipole.search.collection import Collection
model = Letters(pause=0.05)
def slowly():
    for number, document in enumerate(numbered(1000, 100000)):
        if number == 4096:
            print("writing", flush=True)
        yield document
{call}
"""


@pytest.mark.parametrize("how", ["rebuild", "append", "create"])
def test_kill_9_while_writing_changes_nothing(tmp_path: Path, how: str) -> None:
    model, folder = Letters(), tmp_path / "c"
    if how != "create":
        Collection.create(folder, numbered(0, 20), model)
    opened = f"Collection.open({str(folder)!r}).append(" if how == "append" else f"Collection.{how}({str(folder)!r}, "
    script = KILLED.format(here=str(Path(__file__).parent), call=f"{opened}slowly(), model)")
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        with pytest.raises(UsageError, match="another process"):
            Collection.rebuild(folder, numbered(0, 1), model)
        writer.send_signal(signal.SIGKILL)
        assert writer.wait() == -signal.SIGKILL
    if how == "create":
        with pytest.raises(UsageError, match="not a collection"):
            Collection.open(folder)
        Collection.create(folder, numbered(0, 2), model)
    else:
        assert len(Collection.open(folder).search(["x"], model, k=99)[0]) == 20
        Collection.open(folder).append(numbered(20, 22), model)
    assert len(Collection.open(folder).search(["x"], model, k=99)[0]) == (2 if how == "create" else 22)
    assert len(tables(folder)) == 1


def test_what_is_no_collection_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds other files"):
        Collection.rebuild(tmp_path, numbered(0, 1), Letters())
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]
    with pytest.raises(UsageError, match=r"is a file"):
        Collection.create(tmp_path / "precious.txt", numbered(0, 1), Letters())
    with pytest.raises(UsageError, match="not a collection; make one with"):
        Collection.open(tmp_path / "nowhere")


def test_create_does_not_replace_and_k_is_checked(tmp_path: Path) -> None:
    collection = Collection.create(tmp_path / "c", numbered(0, 1), Letters())
    with pytest.raises(UsageError, match="already is a collection"):
        Collection.create(tmp_path / "c", numbered(0, 1), Letters())
    with pytest.raises(ParameterError, match="k must be"):
        collection.search(["x"], Letters(), k=0)


def test_a_damaged_manifest_or_table_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    made = Collection.create(folder, numbered(0, 3), Letters())
    whole = (folder / "collection.json").read_text()
    (folder / "collection.json").write_text(whole[:40])
    with pytest.raises(DataError, match=r"collection\.json: the manifest is damaged"):
        Collection.open(folder)
    (folder / "collection.json").write_text(json.dumps({**json.loads(whole), "schema": 99}))
    with pytest.raises(DataError, match="schema 2"):
        Collection.open(folder)
    (folder / "collection.json").write_text(whole)
    (folder / f"{made.manifest.table}.lance").rename(tmp_path / "away")
    with pytest.raises(DataError, match="missing or damaged"):
        Collection.open(folder).search(["x"], Letters())


def test_rows_become_documents() -> None:
    rows = [{"id": 7, "title": "t", "anchor": "words"}, {"anchor": "more"}]
    assert list(documents_of(rows, first=5)) == [Document("7", "words", title="t"), Document("6", "more")]
    with pytest.raises(DataError, match=r"some\.csv: row 2 needs a text.*--text"):
        list(documents_of([{"anchor": "a"}, {"anchor": " "}], path="some.csv"))


def test_vectors_kept_in_memory_give_the_same_answers_and_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "READ_ROWS", 37)
    model = Letters()
    collection = Collection.create(tmp_path / "c", numbered(0, 200), model)
    filtered = Filter(fields={"parity": 1})
    wanted = collection.search(["what"], model), collection.search(["what"], model, where=filtered)
    assert not collection.keep_vectors(most=200 * 8 * 4 - 1) and collection.keep_vectors(most=200 * 8 * 4)
    with monkeypatch.context() as without:
        without.setattr(table, "read_vectors", lambda *given: pytest.fail("read again"))
        assert collection.search(["what"], model) == wanted[0]
        without.setattr(table, "document", lambda row: pytest.fail("read again"))
        assert collection.search(["what"], model) == wanted[0] and collection.search(["what"], model, k=3)[0] == wanted[0][0][:3]
    assert collection.search(["what"], model, where=filtered) == wanted[1]
    assert not Collection.create(tmp_path / "empty", [], model).keep_vectors()
