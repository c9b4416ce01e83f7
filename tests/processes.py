"""Run a function in several processes that talk to each other, as ranks of one training do."""

import os

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from tests.ports import free_port


def on_ranks(work, world, folder):
    """What ``work(rank, world)`` gives in each of ``world`` gloo processes, in the order of ranks. ``work`` must be importable."""
    mp.spawn(_process, (work, world, free_port(), str(folder)), nprocs=world)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(world)]


def _process(rank, work, world, port, folder):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=world)
    torch.save(work(rank, world), f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)  # as in train/check_ranks.py
