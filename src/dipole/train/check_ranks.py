"""The gradient of one batch by several gloo processes on this machine, for ``check``."""

from __future__ import annotations

import importlib
import itertools
import os
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file

from dipole.core.protocols import Batch
from dipole.train.joining import join
from dipole.train.ranks import objective_of
from dipole.train.recipe import Recipe


def shares(recipe: Recipe, rows: list[Any], ranks: int) -> list[Batch]:
    """What every process encodes. Shares are uneven on purpose: the first process gets one row more than its part.

    Views that draw by chance draw here, once, so that one process and several see the same.
    """
    even = len(rows) // ranks
    cuts = [0, *(min(len(rows), even * r + 1) for r in range(1, ranks)), len(rows)]
    return [recipe.views(rows[a:b]) for a, b in itertools.pairwise(cuts)]


def together(batches: Sequence[Batch]) -> Batch:
    """The shares as the batch of one process: sides and metadata joined, owners counted on."""
    items: dict[str, list[Any]] = {}
    meta: dict[str, list[torch.Tensor]] = {}
    before = 0
    for batch in batches:
        for side, some in batch.items.items():
            items.setdefault(side, []).extend(some)
        for name, values in batch.meta.items():
            shifted = values + before * (values >= 0) if name.endswith("owner") else values
            meta.setdefault(name, []).append(shifted)
        before += len(batch.items["queries"])
    return Batch(items, {name: join([{name: part} for part in parts])[name] for name, parts in meta.items()})


def gradients_by_ranks(recipe: Recipe, run: Sequence[Sequence[Batch]]) -> torch.Tensor:
    """All gradients of the last batch of a run, averaged over processes as DDP does, as one float64 vector; dropout off.

    ``run``: the shares of each batch, one a process.
    """
    with tempfile.TemporaryDirectory(prefix="dipole-check-") as folder:
        spawn: Any = importlib.import_module("torch.multiprocessing").spawn
        spawn(_process, (recipe, run, _free_port(), folder), nprocs=len(run[0]))
        return load_file(str(Path(folder) / "gradient.safetensors"))["gradient"]


def _process(rank: int, recipe: Recipe, run: Sequence[Sequence[Batch]], port: int, folder: str) -> None:
    from dipole.train.check import copied, last_gradient

    world = len(run[0])
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // world))
    dist.init_process_group("gloo", rank=rank, world_size=world)
    recipe = copied(recipe)  # what arrives in a spawned process shares its memory with the others
    encoder: Any = recipe.encoder
    encoder.eval()
    objective = objective_of(recipe, world)
    gradient = last_gradient(encoder, objective, [shares[rank] for shares in run], 0, cached=False)
    dist.all_reduce(gradient)
    if rank == 0:
        save_file({"gradient": gradient / world}, str(Path(folder) / "gradient.safetensors"))
    dist.barrier()  # nobody leaves while another still talks
    dist.destroy_process_group()
    os._exit(0)  # the result is on disk; tearing down gloo's and autograd's threads by exit handlers now and then aborts


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port
