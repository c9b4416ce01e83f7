"""Several processes, one batch: gathering vectors with their gradients, and the ring that never holds them all.

The rule everywhere: rank r computes the values of its own rows against the columns of all ranks, takes
``values.sum() * world / global_rows`` as its loss, and averages parameter gradients over ranks, as DDP does. The result
is the gradient of the one-process mean over the global batch, because ``gather`` sends every column's gradient home.

Collectives of a step, whatever the number of micro batches: one exchange of lengths, one gather forward, one reduction
backward.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from dipole.core.scores import Vectors


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


def lengths_of_all(lengths: list[int], device: torch.device) -> list[list[int]]:
    """Every rank's ``lengths``, rank by rank."""
    _, size = world()
    mine = torch.tensor(lengths, dtype=torch.int64, device=device)
    everyone = mine.new_empty(size * len(lengths))
    _all_gather(everyone, mine)
    return everyone.view(size, len(lengths)).tolist()  # type: ignore[no-any-return]


def gather_sides(
    sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor]
) -> tuple[dict[str, Vectors], dict[str, torch.Tensor], slice | None]:
    """All ranks' sides and metadata, rank after rank, and this rank's own query rows; ranks may differ in length.

    ``sides`` maps a name to (n, ...) vectors or a tuple of tensors; gradients flow back to the rank they belong to.
    ``meta`` maps a name to an (n, ...) tensor; names ending in ``owner`` hold query rows of the rank and are shifted to
    global ones. With one process everything comes back as it is, and None.
    """
    rank, size = world()
    if size == 1:
        return dict(sides), dict(meta), None
    flat: list[torch.Tensor] = []
    for vectors in sides.values():
        flat.extend([vectors] if isinstance(vectors, torch.Tensor) else vectors)
    flat.extend(meta.values())
    gathered = list(_gather(flat))
    starts = [0]
    first_side = next(iter(sides.values()))
    lead = first_side if isinstance(first_side, torch.Tensor) else first_side[0]
    lengths = gathered.pop()
    for r in range(size):
        starts.append(starts[-1] + int(lengths[r, 0]))
    taken = iter(gathered)
    out_sides: dict[str, Vectors] = {
        name: next(taken) if isinstance(v, torch.Tensor) else tuple(next(taken) for _ in v) for name, v in sides.items()
    }
    out_meta: dict[str, torch.Tensor] = {}
    for at, name in enumerate(meta):
        values = next(taken)
        if name.endswith("owner"):
            which = len(flat) - len(meta) + at
            shift = torch.repeat_interleave(torch.tensor(starts[:-1], device=values.device), lengths[:, which].to(values.device))
            values = torch.where(values >= 0, values + shift, values)
        out_meta[name] = values
    assert len(lead) == starts[rank + 1] - starts[rank]
    return out_sides, out_meta, slice(starts[rank], starts[rank + 1])


def gather(tensor: torch.Tensor) -> torch.Tensor:
    """All ranks' (n_r, ...) tensors, one after the other, gradient included."""
    return next(iter(_gather([tensor]))) if world()[1] > 1 else tensor


def _gather(tensors: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """The global tensors, and last the (world, count) table of lengths."""
    lengths = lengths_of_all([len(t) for t in tensors], tensors[0].device)
    out: tuple[torch.Tensor, ...] = _Gather.apply(lengths, *tensors)
    return (*out, torch.tensor(lengths))


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
        needed = [dtype.is_floating_point and need for (dtype, _), need in zip(kinds, ctx.needs_input_grad[1:], strict=True)]
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
