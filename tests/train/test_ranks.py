"""Two processes train as one does: same losses, same weights, whatever the cut, uneven shares included."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dipole.train import checkpoint
from dipole.train.log import read
from dipole.train.run import train
from tests.ports import free_port
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
    """Run the code in each; all must end well. They leave without exit handlers: tearing down gloo's threads now and then aborts."""
    code += "\nimport os, sys; sys.stderr.flush(); os._exit(0)"
    shared = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
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


SHARDED = """
import torch, torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from dipole.losses import InfoNCE
from dipole.pairwise.scores.scaled_cosine import ScaledCosine
from dipole.train.batches import share
from dipole.train.ranks import average_gradients, reach_of
from dipole.train.objective import Objective
from dipole.train.step import backward
from dipole.views.aligned import Aligned
from safetensors.torch import save_file
from tests.train.stand_in import Bag, Sentences

dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
rows = list(Sentences(8))  # a sharded forward is a collective: every process needs as many micro batches
found = {{}}
for name, size in (("alone", 1), ("sharded", world)):
    encoder = Bag(dropout=0.0)
    objective = Objective(Aligned(), ScaledCosine(), [InfoNCE(temperature=1.0)], reach=reach_of(size), world_size=size)
    mine = rows if size == 1 else [rows[i] for i in share(torch.arange(8), rank, world).tolist()]
    if size > 1:
        fully_shard(encoder, mesh=init_device_mesh("cpu", (world,)))
    backward(encoder, encoder, objective, objective.views(mine), 2, cached=True)
    average_gradients(objective.parameters(), size)
    for n, p in (*encoder.named_parameters(), *objective.named_parameters()):
        found[name + " " + n] = (p.grad.full_tensor() if hasattr(p.grad, "full_tensor") else p.grad).clone()
if rank == 0:
    save_file(found, {file!r})
dist.destroy_process_group()
"""


def test_a_sharded_encoder_gets_the_gradient_of_one_process(tmp_path: Path) -> None:
    """FSDP (fully_shard) on two CPU processes, with gradient caching: 1e-6 of the whole gradient."""
    file = tmp_path / "gradients.safetensors"
    processes(tmp_path, 2, SHARDED.format(file=str(file)))
    found = load_file(file)
    names = {n.split(" ")[1] for n in found}
    assert len(names) == 4
    whole = max(float(found[f"alone {n}"].norm()) for n in names)
    for name in names:
        assert float((found[f"sharded {name}"] - found[f"alone {name}"]).norm()) <= 1e-6 * whole, name


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


STOPPING = """
import torch, torch.distributed as dist
from dipole.core.errors import DipoleError
from dipole.train.doctor.watch import Doctor
from dipole.train.run import train
from tests.train.stand_in import recipe
of = recipe(**{settings})
of.encoder.drop.p = 0.0
rank = int(__import__("os").environ["RANK"])
{illness}
try:
    train(of, {run!r}, show=False, doctor=Doctor(stop_on=["duplicates"]))
    said = ""
except DipoleError as error:
    said = str(error)
dist.barrier()  # nobody is left behind in a step
open({run!r} + f"/said-{{rank}}.txt", "w").write(said)
open({run!r} + f"/weights-{{rank}}.txt", "w").write(str([float(p.sum()) for p in of.encoder.parameters()]))
"""


def stopped(run: Path, illness: str, **settings: int) -> list[str]:
    """What each of two processes says when it stops; both have the same weights."""
    processes(run, 2, STOPPING.format(settings=settings, run=str(run), illness=illness))
    assert (run / "weights-0.txt").read_text() == (run / "weights-1.txt").read_text()
    return [(run / f"said-{rank}.txt").read_text() for rank in range(2)]


@pytest.mark.parametrize(("steps", "end"), [(40, 22), (21, 21)])  # at the next step, or at once where there is none
def test_an_alarm_stops_both_processes_after_the_same_step(steps: int, end: int, tmp_path: Path) -> None:
    run = tmp_path / "run"
    copies = "of.rows[0].rows = of.rows[0].rows[:6] * (len(of.rows[0].rows) // 6)"
    first, second = stopped(run, copies, batch_size=16, max_steps=steps, save_steps=0)
    assert f"stopped after step {end} of {steps}: duplicates: " in first and f"step-{end} is saved" in first
    assert f"stopped after step {end} of {steps}: an alarm of process 0" in second
    assert [r["step"] for r in read(run / "log.jsonl")] == list(range(1, end + 1))
    assert checkpoint.steps_in(run) == [end] and (run / f"checkpoints/step-{end}/rng-1.safetensors").exists()


def test_what_is_not_finite_on_one_process_stops_both(tmp_path: Path) -> None:
    """Only the second process meets the NaN; both name the step, and the second names the tensor."""
    run = tmp_path / "run"
    breaks = "of.encoder.top.register_forward_hook(lambda m, i, o: o * torch.nan if rank else o)"
    first, second = stopped(run, breaks, batch_size=8, max_steps=5, save_steps=0)
    assert "step 1: loss nan" in first and "step 1: loss nan" in second
    assert "the first bad tensor is the output of encoder.top" in second
