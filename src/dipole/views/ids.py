"""Content ids: equal content, equal number, in every process and on every rank."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from dipole.core.errors import DataError
from dipole.core.protocols import Row


def content_ids(items: Iterable[Any]) -> torch.Tensor:
    """(N,) int64 in 0 .. 2^63 - 1: the first 63 bits of blake2b over the item's content: text, bytes, a tensor's numbers,
    a Pillow image's; of anything else its ``repr``.

    Two different items share an id with probability below 1e-9 even among 100,000 (birthday bound).
    """
    return torch.tensor([_id(item) for item in items], dtype=torch.int64)


def task_ids(rows: Sequence[Row], view: str) -> torch.Tensor | None:
    """(N,) int64 from the rows' ``task``, a text or a whole number of at least 0; None where no row has one.

    Raises DataError where some have and others do not.
    """
    tasks = [row.get("task") for row in rows]
    if all(task is None for task in tasks):
        return None
    for place, task in enumerate(tasks):
        if isinstance(task, bool) or not ((isinstance(task, str) and task) or (isinstance(task, int) and task >= 0)):
            rule = f"{view}: row {place} of the batch needs a task, a text or a whole number of at least 0, as other rows have"
            raise DataError(rule, column="task", value=task)
    return torch.tensor([task if isinstance(task, int) else _id(task) for task in tasks], dtype=torch.int64)


def _id(item: Any) -> int:
    if isinstance(item, torch.Tensor):  # its repr leaves most numbers out
        numbers = item.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        content = f"{item.dtype} {tuple(item.shape)} ".encode() + numbers
    elif hasattr(item, "tobytes"):
        content = f"{getattr(item, 'mode', '')} {getattr(item, 'size', '')} ".encode() + item.tobytes()
    else:
        content = item if isinstance(item, bytes) else (item if isinstance(item, str) else repr(item)).encode()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big") >> 1
