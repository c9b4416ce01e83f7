"""The state of every random generator a step may draw from: torch (CPU and devices), NumPy, Python.

>>> before = RandomState.now()
>>> a = torch.rand(2)
>>> before.restore()
>>> torch.equal(a, torch.rand(2))
True
"""

from __future__ import annotations

import hashlib
import random
import struct
import sys
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, eq=False)
class RandomState:
    """A picture of the generators of this process."""

    tensors: Mapping[str, torch.Tensor]

    @classmethod
    def now(cls) -> RandomState:
        """Take the picture. NumPy is looked at only where something imported it."""
        version, words, gauss = random.getstate()
        tensors = {
            "torch": torch.get_rng_state(),
            "python": torch.frombuffer(array("q", [version, *words]), dtype=torch.int64),  # a step takes many pictures
            "python.gauss": torch.tensor([] if gauss is None else [gauss], dtype=torch.float64),
        }
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            tensors["cuda"] = torch.cuda.get_rng_state()
        numpy = _numpy()
        if numpy is not None:
            state = numpy.random.get_state(legacy=False)
            tensors["numpy"] = torch.from_numpy(state["state"]["key"].astype("int64"))
            tensors["numpy.at"] = torch.tensor([state["state"]["pos"], state["has_gauss"]], dtype=torch.int64)
            tensors["numpy.gauss"] = torch.tensor([state["gauss"]], dtype=torch.float64)
        return cls(tensors)

    def restore(self) -> None:
        """Put every generator back to where it was."""
        torch.set_rng_state(self.tensors["torch"].cpu())
        version, *words = self.tensors["python"].tolist()
        gauss = self.tensors["python.gauss"].tolist()
        random.setstate((version, tuple(words), gauss[0] if gauss else None))
        if "cuda" in self.tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(self.tensors["cuda"].cpu())
        numpy = _numpy()
        if "numpy" in self.tensors and numpy is not None:
            position, has_gauss = self.tensors["numpy.at"].tolist()
            key = self.tensors["numpy"].numpy().astype("uint32")
            inner = {"key": key, "pos": position}
            gaussian = float(self.tensors["numpy.gauss"][0])
            numpy.random.set_state({"bit_generator": "MT19937", "state": inner, "has_gauss": has_gauss, "gauss": gaussian})


def seed_of(*numbers: int | str) -> int:
    """A 63-bit seed from a few numbers: the same for the same numbers, unrelated for different ones."""
    digest = hashlib.blake2b(":".join(map(str, numbers)).encode(), digest_size=8).digest()
    value: int = struct.unpack("<Q", digest)[0]
    return value >> 1


def seed_everything(*numbers: int | str) -> None:
    """Seed torch, NumPy (where imported) and Python from a few numbers."""
    seed = seed_of(*numbers)
    torch.manual_seed(seed)
    random.seed(seed)
    numpy = _numpy()
    if numpy is not None:
        numpy.random.seed(seed % 2**32)


def _numpy() -> Any:
    return sys.modules.get("numpy")
