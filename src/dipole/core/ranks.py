"""Several processes, one batch: gathering vectors with their gradients, and the ring that never holds them all.

The rule everywhere: rank r computes the values of its own rows against the columns of all ranks, takes
``values.sum() * world / global_rows`` as its loss, and averages parameter gradients over ranks, as DDP does. The result
is the gradient of the one-process mean over the global batch, because ``gather`` sends every column's gradient home.

Collectives of a step, whatever the number of micro batches: one exchange of shapes, one gather forward, one reduction
backward.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from dipole.core.errors import DataError
from dipole.core.vectors import Vectors


def world() -> tuple[int, int]:
    """(rank, number of processes); (0, 1) where nothing is distributed."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


@dataclass(frozen=True)
class Ring:
    """Which rows and columns of the global batch each rank holds: rank r has ``starts[r]`` to ``starts[r + 1]``."""

    rank: int
    row_starts: tuple[int, ...]
    col_starts: tuple[int, ...]

    @property
    def world(self) -> int:
        return len(self.row_starts) - 1

    @property
    def own_rows(self) -> slice:
        return slice(self.row_starts[self.rank], self.row_starts[self.rank + 1])

    @property
    def own_cols(self) -> slice:
        return slice(self.col_starts[self.rank], self.col_starts[self.rank + 1])

    def flipped(self) -> Ring:
        return Ring(self.rank, self.col_starts, self.row_starts)


def gather_sides(
    sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor]
) -> tuple[dict[str, Vectors], dict[str, torch.Tensor], slice | None]:
    """All ranks' sides and metadata, rank after rank, and this rank's own query rows; ranks may differ in length.

    ``sides`` maps a name to (n, ...) vectors or a tuple of tensors; gradients flow back to the rank they belong to.
    ``meta`` maps a name to an (n, ...) tensor; names ending in ``owner`` hold query rows of the rank and are shifted to
    global ones. The first side is the queries. A side that only some ranks have is empty on the others; token axes of
    different lengths are padded with zeros. With one process everything comes back as it is, and None.
    """
    rank, size = world()
    if size == 1:
        return dict(sides), dict(meta), None
    lead = next(iter(sides.values()))
    flat: dict[tuple[str, int], torch.Tensor] = {}  # (name, place in its tuple; -1: one tensor; -2: metadata)
    for name, vectors in sides.items():
        flat |= {(name, -1): vectors} if isinstance(vectors, torch.Tensor) else {(name, i): t for i, t in enumerate(vectors)}
    flat |= {(name, -2): t for name, t in meta.items()}
    first = (lead if isinstance(lead, torch.Tensor) else lead[0]).device
    layout, lengths = _agree({key: (len(t), tuple(t.shape[1:]), t.dtype) for key, t in flat.items()})
    mine = [_padded(flat[key], shape) if key in flat else torch.zeros(0, *shape, dtype=dtype, device=first) for key, shape, dtype in layout]
    gathered: tuple[torch.Tensor, ...] = _Gather.apply(lengths, *mine)  # type: ignore[no-untyped-call]
    leading = next(at for at, (key, _, _) in enumerate(layout) if key[0] == next(iter(sides)))
    starts = [0]
    for row in lengths:
        starts.append(starts[-1] + row[leading])
    out_sides: dict[str, Vectors] = {}
    out_meta: dict[str, torch.Tensor] = {}
    for at, ((name, place), _, _) in enumerate(layout):
        values = gathered[at]
        if place == -2 and name.endswith("owner"):
            counts = torch.tensor([row[at] for row in lengths], device=values.device)
            shift = torch.repeat_interleave(torch.tensor(starts[:-1], device=values.device), counts)
            values = torch.where(values >= 0, values + shift, values)
        if place == -2:
            out_meta[name] = values
        elif place == -1:
            out_sides[name] = values
        else:
            out_sides[name] = (*out_sides.get(name, ()), values)
    out_sides = {name: out_sides[name] for name in [*sides, *(n for n in out_sides if n not in sides)]}
    return out_sides, out_meta, slice(starts[rank], starts[rank + 1])


Shape = tuple[tuple[str, int], tuple[int, ...], torch.dtype]


def _agree(mine: Mapping[tuple[str, int], tuple[int, tuple[int, ...], torch.dtype]]) -> tuple[list[Shape], list[list[int]]]:
    """What all ranks bring together, in one order, and how much of it each has: a rank may have no hard negatives at all."""
    _, size = world()
    said: list[Any] = [None] * size
    dist.all_gather_object(said, dict(mine))
    layout: dict[tuple[str, int], Shape] = {}
    for brought in said:
        for key, (_, shape, dtype) in brought.items():
            _, known, kind = layout.setdefault(key, (key, shape, dtype))
            if len(known) != len(shape) or kind != dtype:
                raise DataError(f"gather: ranks disagree on {key[0]!r}", value=((known, kind), (shape, dtype)))
            layout[key] = (key, tuple(map(max, known, shape)), dtype)
    ordered = [layout[key] for key in sorted(layout)]
    return ordered, [[brought.get(key, (0,))[0] for key, _, _ in ordered] for brought in said]


def _padded(tensor: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Zeros appended until every axis but the first has its length."""
    missing = [want - have for want, have in zip(shape, tensor.shape[1:], strict=True)]
    return torch.nn.functional.pad(tensor, [p for more in reversed(missing) for p in (0, more)]) if any(missing) else tensor


def gather(tensor: torch.Tensor) -> torch.Tensor:
    """All ranks' equally shaped (n, ...) tensors, one after the other, gradient included."""
    _, size = world()
    if size == 1:
        return tensor
    everyone: torch.Tensor = _Gather.apply([[len(tensor)]] * size, tensor)[0]  # type: ignore[no-untyped-call]
    return everyone


def add_up(tensor: torch.Tensor, world_size: int) -> torch.Tensor:
    """The sum over processes of a tensor that needs no gradient."""
    summed = tensor.detach().clone()
    if world_size > 1:
        dist.all_reduce(summed)
    return summed


class _Gather(torch.autograd.Function):
    """One byte buffer a rank, so that vectors, masks and labels of any type travel together."""

    @staticmethod
    def forward(ctx: Any, lengths: list[list[int]], *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        _, size = world()
        ctx.lengths, ctx.kinds = lengths, [(t.dtype, t.shape[1:]) for t in tensors]
        widths = [_items(t.shape[1:]) * t.element_size() for t in tensors]
        room = max(sum(n * w for n, w in zip(row, widths, strict=True)) for row in lengths)
        mine = torch.cat([t.reshape(-1).clone(memory_format=torch.contiguous_format).view(torch.uint8) for t in tensors])
        buffer = torch.zeros(room, dtype=torch.uint8, device=mine.device)
        buffer[: len(mine)] = mine
        everyone = buffer.new_empty(size * room)
        _all_gather(everyone, buffer)
        pieces: list[list[torch.Tensor]] = [[] for _ in tensors]
        for r, row in enumerate(lengths):
            at = r * room
            for piece, n, w, (dtype, shape) in zip(pieces, row, widths, ctx.kinds, strict=True):
                raw = everyone[at : at + n * w].clone()
                piece.append(raw.view(dtype).reshape(n, *shape))
                at += n * w
        out = tuple(torch.cat(piece) for piece in pieces)
        ctx.mark_non_differentiable(*(t for t in out if not t.is_floating_point()))
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor | None) -> tuple[Any, ...]:
        rank, size = world()
        kinds = ctx.kinds
        needed = [dtype.is_floating_point for dtype, _ in kinds]  # the same on every rank, whoever needs a gradient
        wide = torch.float64 if any(d == torch.float64 for (d, _), n in zip(kinds, needed, strict=True) if n) else torch.float32
        rows_of = [[row[i] for row in ctx.lengths] for i in range(len(kinds))]
        room = max(sum(row[i] * _items(kinds[i][1]) for i in range(len(kinds)) if needed[i]) for row in ctx.lengths)
        device = next(g.device for g in grads if g is not None)
        buffer = torch.zeros(size, room, dtype=wide, device=device)
        for r in range(size):
            at = 0
            for i, grad in enumerate(grads):
                if not needed[i]:
                    continue
                first, count = sum(rows_of[i][:r]), rows_of[i][r] * _items(kinds[i][1])
                if grad is not None:
                    buffer[r, at : at + count] = grad[first : first + rows_of[i][r]].reshape(-1)
                at += count
        mine = _sum_to_owner(buffer)
        out: list[Any] = []
        at = 0
        for i, (dtype, shape) in enumerate(kinds):
            if not needed[i]:
                out.append(None)
                continue
            count = rows_of[i][rank] * _items(shape)
            out.append(mine[at : at + count].reshape(rows_of[i][rank], *shape).to(dtype))
            at += count
        return (None, *out)


def _all_gather(into: torch.Tensor, mine: torch.Tensor) -> None:
    """Every rank's equally long ``mine``, one after the other."""
    (getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor)(into, mine)


def _sum_to_owner(buffer: torch.Tensor) -> torch.Tensor:
    """(world, room) -> (room,): the sum over ranks of this rank's line."""
    rank, _ = world()
    if dist.get_backend() == "nccl":
        mine = buffer.new_empty(buffer.shape[1])
        # newer PyTorch names, with the older ones where they do not exist yet
        (getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor)(mine, buffer)
        return mine
    dist.all_reduce(buffer)
    return buffer[rank]


def pass_on(tensors: list[torch.Tensor], room: list[int]) -> list[torch.Tensor]:
    """Send the tensors to the next rank of the ring and return the previous rank's, whose lengths are ``room``."""
    rank, size = world()
    arriving = [t.new_empty(n, *t.shape[1:]) for t, n in zip(tensors, room, strict=True)]
    moves = []
    for out, into in zip(tensors, arriving, strict=True):
        moves.append(dist.P2POp(dist.isend, out.contiguous(), (rank + 1) % size))
        moves.append(dist.P2POp(dist.irecv, into, (rank - 1) % size))
    for work in dist.batch_isend_irecv(moves):
        work.wait()
    return arriving


def _items(shape: torch.Size) -> int:
    count = 1
    for side in shape:
        count *= side
    return count
