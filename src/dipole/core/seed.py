"""Seeds from numbers and names, where chance must fall alike on every process and in every resumed run."""

from __future__ import annotations

import hashlib
import struct

import torch


def seed_of(*numbers: int | str) -> int:
    """A 63-bit seed from a few numbers: the same for the same numbers, unrelated for different ones."""
    digest = hashlib.blake2b(":".join(map(str, numbers)).encode(), digest_size=8).digest()
    value: int = struct.unpack("<Q", digest)[0]
    return value >> 1


def dice(*numbers: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator seeded by them.

    >>> torch.equal(torch.rand(2, generator=dice(0, "noise", 3)), torch.rand(2, generator=dice(0, "noise", 3)))
    True
    """
    return torch.Generator(device=device).manual_seed(seed_of(*numbers))
