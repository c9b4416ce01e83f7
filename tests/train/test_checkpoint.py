"""Checkpoints are whole or not there, and say what to do when they are broken."""

from __future__ import annotations

import json
import os
import random
import resource
from pathlib import Path

import numpy as np
import pytest
import torch

from dipole.core.errors import CheckpointError
from dipole.core.seed import seed_of
from dipole.train.checkpoint import Checkpoint, load, optimizer_tensors, restore_module, restore_optimizer, save, steps_in
from dipole.train.rng import RandomState, seed_everything


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(
        step, {"model": {"w": torch.full((50_000,), float(step))}, "rng-0": RandomState.now().tensors}, {"data": "x", "n": [1, 2.5]}
    )


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    save(tmp_path, checkpoint(3))
    found = load(tmp_path)
    assert found.step == 3 and found.values == {"data": "x", "n": [1, 2.5]}
    assert torch.equal(found.tensors["model"]["w"], torch.full((50_000,), 3.0))
    names = sorted(p.name for p in (tmp_path / "checkpoints/step-3").iterdir())
    assert names == ["model.safetensors", "rng-0.safetensors", "state.json"]  # no pickle


def test_only_the_last_are_kept(tmp_path: Path) -> None:
    for step in (2, 4, 6, 10):
        save(tmp_path, checkpoint(step), keep=2)
    assert steps_in(tmp_path) == [6, 10]


@pytest.mark.parametrize("how", ["truncated", "changed", "missing", "no state", "bad json", "half json"])
def test_a_broken_checkpoint_names_the_file_and_the_whole_one(tmp_path: Path, how: str) -> None:
    save(tmp_path, checkpoint(5))
    save(tmp_path, checkpoint(10))
    model, state = tmp_path / "checkpoints/step-10/model.safetensors", tmp_path / "checkpoints/step-10/state.json"
    content = model.read_bytes()
    if how == "truncated":
        model.write_bytes(content[: len(content) // 2])
    elif how == "changed":
        model.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif how == "missing":
        model.unlink()
    elif how == "no state":
        state.unlink()
    else:
        state.write_text(state.read_text()[:40] if how == "half json" else "[]")
    broken = state if how in ("no state", "bad json", "half json") else model
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path)
    assert str(broken) in str(caught.value)
    assert "delete" in str(caught.value) and "step-5 is whole" in str(caught.value)
    assert load(tmp_path, 5).step == 5


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path: Path) -> None:
    save(tmp_path, checkpoint(5))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))  # the model has 200 kB
    try:
        with pytest.raises(CheckpointError, match=r"step-10: could not be written.*step-5 is whole"):
            save(tmp_path, checkpoint(10))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path / "checkpoints") == ["step-5"]
    assert load(tmp_path).step == 5


def test_a_crash_between_files_leaves_nothing_that_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, checkpoint(5))
    monkeypatch.setattr("dipole.train.checkpoint.os.replace", lambda *a: (_ for _ in ()).throw(RuntimeError("power cut")))
    with pytest.raises(RuntimeError, match="power cut"):
        save(tmp_path, checkpoint(10))
    assert steps_in(tmp_path) == [5]


def test_no_checkpoint_and_a_newer_format(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        load(tmp_path)
    state = save(tmp_path, checkpoint(1)) / "state.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "version": 99}))
    with pytest.raises(CheckpointError, match="format 99"):
        load(tmp_path)


def test_optimizer_and_module_come_back() -> None:
    def built() -> tuple[torch.nn.Linear, torch.optim.AdamW]:
        torch.manual_seed(0)
        layer = torch.nn.Linear(3, 2)
        groups = [{"params": [layer.weight], "weight_decay": 0.1}, {"params": [layer.bias], "weight_decay": 0.0}]
        return layer, torch.optim.AdamW(groups, lr=0.1)

    def step(layer: torch.nn.Linear, optimizer: torch.optim.AdamW) -> None:
        layer(torch.ones(1, 3)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    one, one_optimizer = built()
    for _ in range(3):
        step(one, one_optimizer)
    two, two_optimizer = built()
    restore_module(two, {k: v.clone() for k, v in one.state_dict().items()}, "here")
    restore_optimizer(two_optimizer, {k: v.clone() for k, v in optimizer_tensors(one_optimizer).items()})
    for _ in range(3):
        step(one, one_optimizer)
        step(two, two_optimizer)
    assert torch.equal(one.weight, two.weight) and torch.equal(one.bias, two.bias)
    with pytest.raises(CheckpointError, match=r"here: holds other weights.*'bias'"):
        restore_module(two, {"weight": one.weight}, "here")
    with pytest.raises(CheckpointError, match="size mismatch"):
        restore_module(two, {"weight": torch.zeros(9), "bias": one.bias}, "here")


def test_every_generator_goes_back() -> None:
    seed_everything(1, "a")
    random.gauss(0, 1), np.random.standard_normal()  # leaves a second Gaussian waiting in both
    state = RandomState.now()
    first = (torch.rand(3).tolist(), random.gauss(0, 1), random.random(), np.random.standard_normal(), np.random.rand())
    state.restore()
    assert first == (torch.rand(3).tolist(), random.gauss(0, 1), random.random(), np.random.standard_normal(), np.random.rand())
    assert seed_of(1, 2) != seed_of(12) and 0 <= seed_of(5) < 2**63
