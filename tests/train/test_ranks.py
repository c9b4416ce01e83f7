"""Two processes train as one does: same losses, same weights, whatever the cut, uneven shares included."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dipole.train.log import read
from dipole.train.run import train
from tests.train.stand_in import recipe

ROOT = Path(__file__).parents[2]
SETTINGS = {"batch_size": 9, "num_train_epochs": 2, "save_steps": 5}  # 9 rows: shares of 5 and 4

CHILD = """
from tests.train.stand_in import recipe
from dipole.train.run import train
of = recipe(**{settings})
of.encoder.drop.p = 0.0
train(of, {run!r}, show=False)
"""


def processes(run: Path, world: int, code: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "GROUP_RANK": "0",
        "TORCHELASTIC_RUN_ID": "test",
        "OMP_NUM_THREADS": "1",
    }
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code], env={**shared, "RANK": str(r), "LOCAL_RANK": str(r)}, stderr=subprocess.PIPE, text=True
        )
        for r in range(world)
    ]
    for child in children:
        _, said = child.communicate(timeout=120)
        assert child.returncode == 0, said[-3000:]


@pytest.mark.parametrize("micro", [0, 2])
def test_two_processes_equal_one(tmp_path: Path, micro: int) -> None:
    settings = {**SETTINGS, "micro_batch_size": micro}
    alone = recipe(**settings)
    alone.encoder.drop.p = 0.0  # type: ignore[attr-defined]
    train(alone, tmp_path / "one", show=False)
    processes(tmp_path / "two", 2, CHILD.format(settings=settings, run=str(tmp_path / "two")))
    ours, theirs = read(tmp_path / "two/log.jsonl"), read(tmp_path / "one/log.jsonl")
    assert len(ours) == len(theirs) == 10
    for a, b in zip(ours, theirs, strict=True):
        for key in ("loss", "grad_norm", "temperature"):
            assert a[key] == pytest.approx(b[key], rel=1e-4), (a["step"], key)
        assert a["rows"] == 9
    for file in ("model", "objective"):
        two, one = (load_file(tmp_path / n / f"checkpoints/step-10/{file}.safetensors") for n in ("two", "one"))
        assert two.keys() == one.keys()
        for name in one:
            torch.testing.assert_close(two[name], one[name], rtol=1e-4, atol=2e-5, msg=name)
    assert (tmp_path / "two/checkpoints/step-10/rng-1.safetensors").exists()
