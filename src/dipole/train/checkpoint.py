"""Checkpoints: ``checkpoints/step-N/``, whole or not there at all.

Tensors are in safetensors files, everything else in ``state.json``, which lists the size and sha256 of every file beside
it and is written last. A checkpoint is written under a temporary name, flushed to the disk and then renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dipole.core.errors import CheckpointError
from dipole.core.extras import need
from dipole.core.files import sync

_STATE = "state.json"
_VERSION = 1
Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a run needs to go on: named groups of tensors (``model``, ``objective``, ``optimizer``, ``rng-0``, ...) and plain values."""

    step: int
    tensors: Mapping[str, Tensors]
    values: Mapping[str, Any]


def folder_of(run: Path, step: int) -> Path:
    """Where the checkpoint of ``step`` belongs."""
    return run / "checkpoints" / f"step-{step}"


def steps_in(run: Path) -> list[int]:
    """Steps with a checkpoint, ascending; half-written ones have another name and do not count."""
    found = (re.fullmatch(r"step-(\d+)", p.name) for p in (run / "checkpoints").glob("step-*"))
    return sorted(int(m[1]) for m in found if m)


def save(run: Path, checkpoint: Checkpoint, keep: int = 2) -> Path:
    """Write a checkpoint and delete all but the latest ``keep``. Where writing fails, the earlier ones are untouched."""
    safetensors = need("safetensors.torch", "train", "checkpoints")
    final = folder_of(run, checkpoint.step)
    final.parent.mkdir(parents=True, exist_ok=True)
    for left in final.parent.glob(".step-*"):  # of a run that was killed while writing
        shutil.rmtree(left, ignore_errors=True)
    temporary = final.with_name(f".{final.name}.{os.getpid()}")
    try:
        temporary.mkdir()
        files = {}
        for name, group in checkpoint.tensors.items():
            path = temporary / f"{name}.safetensors"
            content = safetensors.save({key: _own_memory(t) for key, t in group.items()})
            files[path.name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            _write(path, content)
        state = {"version": _VERSION, "step": checkpoint.step, "files": files, "values": checkpoint.values}
        _write(temporary / _STATE, json.dumps(state, indent=1).encode())
        sync(temporary)
        if final.exists():
            shutil.rmtree(final)
        os.replace(temporary, final)
        sync(final.parent)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError):
            raise CheckpointError(f"{final}: could not be written ({error.strerror or error}); free disk space; {_whole(run)}") from error
        raise
    for step in steps_in(run)[: -max(1, keep)]:
        shutil.rmtree(folder_of(run, step))
    return final


def load(run: Path, step: int | None = None) -> Checkpoint:
    """Read a checkpoint (the latest by default), every byte verified. Raises CheckpointError with what to do."""
    steps = steps_in(run)
    if not steps:
        raise CheckpointError(f"{run / 'checkpoints'}: holds no checkpoint; train without --resume")
    step = steps[-1] if step is None else step
    folder = folder_of(run, step)
    state = read_state(run, step)
    safetensors = need("safetensors.torch", "train", "checkpoints")
    tensors = {}
    for name, record in state["files"].items():
        content = _content(run, folder / name)
        if len(content) != record["bytes"]:
            raise _broken(run, folder / name, f"has {len(content)} bytes instead of {record['bytes']}")
        if hashlib.sha256(content).hexdigest() != record["sha256"]:
            raise _broken(run, folder / name, "was changed after it was written (sha256 differs)")
        tensors[name.removesuffix(".safetensors")] = safetensors.load(content)
    return Checkpoint(state["step"], tensors, state["values"])


def read_state(run: Path, step: int) -> dict[str, Any]:
    """The plain part of a checkpoint."""
    path = folder_of(run, step) / _STATE
    try:
        state = json.loads(_content(run, path))
    except ValueError as error:
        raise _broken(run, path, "is not valid JSON") from error
    if not isinstance(state, dict) or not {"version", "step", "files", "values"} <= state.keys():
        raise _broken(run, path, "lacks entries")
    if state["version"] != _VERSION:
        raise CheckpointError(f"{path}: format {state['version']}, this dipole reads {_VERSION}; use the version that wrote it")
    return state


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """AdamW's state as named tensors, ``PARAMETER.NAME``."""
    return {
        f"{index}.{name}": value if isinstance(value, torch.Tensor) else torch.tensor(value)
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """The inverse of :func:`optimizer_tensors`; groups and their settings come from the recipe."""
    states: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        states.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})


def restore_module(module: torch.nn.Module, tensors: Tensors, where: str) -> None:
    """Load weights and buffers, all of them and no others."""
    have, want = set(tensors), set(module.state_dict())
    if have != want:
        example = sorted(have ^ want)[0]
        rule = f"holds other weights than the recipe's parts ({example!r} is on one side only)"
        raise CheckpointError(f"{where}: {rule}; use the run's recipe")
    try:
        module.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise CheckpointError(f"{where}: {str(error).splitlines()[-1].strip()}; use the run's recipe") from error


def _own_memory(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().cpu().contiguous().clone()


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    sync(path)


def _content(run: Path, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _broken(run, path, f"cannot be read ({error.strerror})") from error


def _broken(run: Path, path: Path, what: str) -> CheckpointError:
    return CheckpointError(f"{path}: {what}; delete {path.parent} and resume; {_whole(run, but=path.parent)}")


def _whole(run: Path, but: Path | None = None) -> str:
    """Which checkpoints could be used instead: sizes are checked, not contents."""
    whole = [s for s in steps_in(run) if folder_of(run, s) != but and _complete(folder_of(run, s))]
    return f"step-{whole[-1]} is whole" if whole else "there is no other checkpoint: train from the start"


def _complete(folder: Path) -> bool:
    try:
        files = json.loads((folder / _STATE).read_bytes())["files"]
        return all((folder / name).stat().st_size == record["bytes"] for name, record in files.items())
    except (OSError, ValueError, KeyError, TypeError):
        return False
