"""What changes when several processes train together; with one process every function here does nothing.

The loss of a process covers the rows it encoded, against the keys of all processes: gradients flow back through the
gathering, and averaging over processes then gives the gradient of the whole batch's mean (see :mod:`dipole.train.step`).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import nn

from dipole.train.step import Reach


def reach_of(world_size: int) -> Reach | None:
    """How the sides of a batch are extended to those of all processes; None for one process."""
    if world_size == 1:
        return None
    from dipole.core.ranks import gather_sides

    return gather_sides


def average_gradients(parameters: Iterable[nn.Parameter], world_size: int) -> None:
    """Average the gradients of parameters that no DDP wrapper looks after (temperatures, biases), in one message."""
    if world_size == 1:
        return
    learned = [p for p in parameters if p.requires_grad]
    if not learned:
        return
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten().float() for p in learned])
    dist.all_reduce(flat)
    for parameter, piece in zip(learned, torch.split(flat / world_size, [p.numel() for p in learned]), strict=True):
        parameter.grad = piece.view_as(parameter).to(parameter.dtype)


def shut(asked: bool, world_size: int) -> bool:
    """Whether any process was asked to stop."""
    if world_size == 1:
        return asked
    flag = torch.tensor([float(asked)])
    if dist.get_backend() == "nccl":
        flag = flag.cuda()
    dist.all_reduce(flag)
    return bool(flag.item())
