"""What changes when several processes train together; with one process every function here does nothing.

The loss of a process covers the rows it encoded, against the keys of all processes: gradients flow back through the
gathering, and averaging over processes then gives the gradient of the whole batch's mean (see :mod:`dipole.train.objective`).

Processes may differ in rows and in sides (hard negatives on some only). A sharded encoder (FSDP) needs as many micro batches
on each, since its forward is a collective: make ``batch_size`` a multiple of the number of processes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import torch
import torch.distributed as dist
from torch import nn

from dipole.core.ranks import gather_sides
from dipole.train.joining import encoded_of, tensors_of
from dipole.train.objective import Meta, Objective, Reach, Sides
from dipole.train.recipe import Recipe


def reach_of(world_size: int) -> Reach | None:
    """How the sides of a batch are extended to those of all processes; None for one process."""
    if world_size == 1:
        return None
    return _gathered


def objective_of(recipe: Recipe, world_size: int = 1) -> Objective:
    """A recipe's objective, over the sides of all processes."""
    return Objective(
        recipe.views,
        recipe.score,
        recipe.losses,
        recipe.weights,
        negatives=recipe.negatives,
        between=recipe.between,
        balance=recipe.balance,
        reach=reach_of(world_size),
        world_size=world_size,
    )


def _gathered(sides: Sides, meta: Meta, fields: Collection[str] | None) -> tuple[Sides, Meta, Mapping[str, slice]]:
    """The sides and metadata of all processes, and where this process's items are on each side.

    ``fields`` of ``Encoded`` travel, the others are left behind; None: all travel.
    """
    rank = dist.get_rank()
    tensors = {f"{side}/{name}": t for side, encoded in sides.items() for name, t in tensors_of(encoded, fields).items()}
    marks = {f"{side}.rank": torch.full((len(encoded),), rank, device=encoded.pooled.device) for side, encoded in sides.items()}
    every, every_meta, _ = gather_sides(tensors, {**meta, **marks})
    found: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in every.items():
        side, _, name = key.partition("/")
        assert isinstance(tensor, torch.Tensor)
        found.setdefault(side, {})[name] = tensor
    own = {}
    for side in sides:
        mine = (every_meta.pop(f"{side}.rank") == rank).nonzero()
        own[side] = slice(int(mine[0]), int(mine[-1]) + 1) if len(mine) else slice(0, 0)
    return {side: encoded_of(t) for side, t in found.items()}, every_meta, own


def total(numbers: Sequence[float], world_size: int, device: torch.device) -> list[float]:
    """Sums over processes, in one message."""
    if world_size == 1:
        return list(numbers)
    summed = torch.tensor(numbers, device=device)
    dist.all_reduce(summed)
    return [float(x) for x in summed]


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
