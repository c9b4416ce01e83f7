"""Collections in object storage: a server that speaks S3 on this machine (moto), and what of it is open to everybody."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dipole.cli.main import main
from dipole.core.errors import DataError, UsageError
from dipole.search.collection import Collection
from dipole.search.documents import Document
from dipole.search.filters import Filter
from dipole.search.places import Remote, place_of
from dipole.search.publish import publish
from dipole.search.table import Block

pytest.importorskip("lancedb")

SERVER = """
import sys
import boto3
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
address = "http://%s:%d" % server.get_host_and_port()
boto3.client("s3", endpoint_url=address, region_name="us-east-1").create_bucket(Bucket="bucket")
print(address, flush=True)
sys.stdin.read()
server.stop()
"""
VARIABLES = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    pytest.importorskip("moto", reason="moto is not installed; pip install dipole[dev]")
    pytest.importorskip("flask", reason="flask is not installed; pip install dipole[dev]")
    pytest.importorskip("flask_cors", reason="flask-cors is not installed; pip install dipole[dev]")
    ends = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-c", SERVER], text=True, env={**os.environ, **VARIABLES}, **ends) as process:
        assert process.stdout is not None and process.stdin is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        yield address
        process.stdin.close()


@pytest.fixture
def s3(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**VARIABLES, "AWS_ENDPOINT_URL": server}.items():
        monkeypatch.setenv(name, value)


def block(start: int, stop: int) -> Block:
    generator = torch.Generator().manual_seed(start)
    documents = [Document(str(i), f"text {i}", {"parity": i % 2}, votes=i) for i in range(start, stop)]
    return Block(documents, torch.nn.functional.normalize(torch.randn(stop - start, 16, generator=generator), dim=1))


QUERIES = torch.eye(16)[:3]


@pytest.mark.usefixtures("s3")
def test_what_is_published_answers_as_here_and_only_news_are_sent(tmp_path: Path) -> None:
    here, to = Collection.store(tmp_path / "c", [block(0, 1500)], "theirs"), Remote("s3://bucket/papers")
    here, _ = here.index(recall=0.5, queries=20)
    _, sent = publish(tmp_path / "c", to)
    assert sent == len([file for file in (tmp_path / "c" / f"{here.manifest.table}.lance").rglob("*") if file.is_file()])
    there = Collection.open("s3://bucket/papers")
    assert there.manifest == here.manifest
    for asked in ({"exact": True}, {}, {"where": Filter(fields={"parity": 1})}):
        assert there.search_vectors(QUERIES, 5, **asked) == here.search_vectors(QUERIES, 5, **asked)
    assert [h.id for h in there.search_words("text 77", 1)] == ["77"]
    assert there.browse("votes", 3) == here.browse("votes", 3) and there.get(["3"]) == here.get(["3"])
    assert [h.id for h in there.similar("3", 4)] == [h.id for h in here.similar("3", 4)]
    assert [m.number for m in there.history()] == [2]

    grown = here.append_vectors([block(1500, 1600)])
    _, more = publish(tmp_path / "c", to)
    assert 0 < more < sent
    again = Collection.open("s3://bucket/papers")
    assert (len(there.search_vectors(QUERIES, 2000, exact=True)[0]), len(again)) == (1500, 1600), "an open reader keeps what it had"
    assert again.search_vectors(QUERIES, 5, exact=True) == grown.search_vectors(QUERIES, 5, exact=True)
    assert publish(tmp_path / "c", to)[1] == 0


@pytest.mark.usefixtures("s3")
def test_of_two_who_publish_copies_that_went_apart_the_last_one_counts(tmp_path: Path) -> None:
    to = Remote("s3://bucket/two")
    Collection.store(tmp_path / "a", [block(0, 50)], "theirs")
    publish(tmp_path / "a", to)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    one, other = (Collection.open(tmp_path / name).append_vectors([block(at, at + 10)]) for name, at in (("a", 1000), ("b", 2000)))
    assert (one.manifest.table, one.manifest.version) == (other.manifest.table, other.manifest.version), (
        "files of one name, another content"
    )
    for held in (one, other, one):
        publish(held.local, to)
        assert Collection.open(str(to)).search_vectors(QUERIES, 99, exact=True) == held.search_vectors(QUERIES, 99, exact=True)


@pytest.mark.usefixtures("s3")
def test_a_publishing_that_fails_leaves_what_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    to = Remote("s3://bucket/broken")
    here = Collection.store(tmp_path / "c", [block(0, 20)], "theirs")
    publish(tmp_path / "c", to)
    Collection.store(tmp_path / "c", [block(20, 70)], "theirs")

    def gone(name: str) -> None:
        raise ConnectionError("the network is gone")

    with pytest.raises(ConnectionError):
        publish(tmp_path / "c", to, told=gone)
    there = Collection.open("s3://bucket/broken")
    assert len(there) == len(there.search_vectors(QUERIES, 99)[0]) == len(here) == 20
    publish(tmp_path / "c", to)
    assert len(Collection.open("s3://bucket/broken").search_vectors(QUERIES, 99)[0]) == 50


@pytest.mark.usefixtures("s3")
def test_it_is_read_and_not_written(tmp_path: Path) -> None:
    Collection.store(tmp_path / "c", [block(0, 20)], "theirs")
    publish(tmp_path / "c", Remote("s3://bucket/read"))
    there = Collection.open("s3://bucket/read")
    for write in (
        lambda: there.delete(["1"]),
        lambda: there.append_vectors([block(20, 21)]),
        lambda: there.rollback(1),
        there.compact,
        there.index,
    ):
        with pytest.raises(UsageError, match="is read, not written"):
            write()
    for write in (lambda: Collection.store("s3://bucket/new", [block(0, 2)], "theirs"),):
        with pytest.raises(UsageError, match="is read, not written"):
            write()
    assert not Path("s3:").exists()


@pytest.mark.usefixtures("s3")
def test_what_is_not_there_or_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="is not a collection"):
        Collection.open("s3://bucket/nothing")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(DataError, match="does not answer"):
        Collection.open("s3://bucket/papers")
    for nowhere in ("s3:///papers", "s3://"):
        with pytest.raises(UsageError, match="write s3://BUCKET/NAME"):
            Collection.open(nowhere)
    with pytest.raises(UsageError, match="no such kind of store"):
        Collection.open("ftp://host/papers")


@pytest.mark.usefixtures("s3")
def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "c")
    Collection.store(folder, [block(0, 20)], "theirs")
    assert main(["collection", folder, "--to", "s3://bucket/commands"]) == 0
    assert "commit 1, " in capsys.readouterr().out
    assert main(["search", "s3://bucket/commands", "text 7", "--words", "--json", "-k", "1"]) == 0
    assert [hit["id"] for hit in json.loads(capsys.readouterr().out)["results"]] == ["7"]
    assert main(["collection", "s3://bucket/commands"]) == 0
    assert "20 documents" in capsys.readouterr().out
    assert main(["collection", "s3://bucket/commands", "--compact"]) == 2
    assert main(["collection", folder, "--to", "elsewhere"]) == 2


def test_a_file_address_is_a_folder_of_this_machine(tmp_path: Path) -> None:
    Collection.store(tmp_path / "c", [block(0, 5)], "theirs")
    held = Collection.open(f"file://{tmp_path}/c")
    assert len(held.search_vectors(QUERIES, 9)[0]) == 5 and held.local == tmp_path / "c"
    assert place_of(tmp_path) == tmp_path and isinstance(place_of("gs://bucket/a"), Remote)
