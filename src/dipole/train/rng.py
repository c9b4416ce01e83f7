"""The state of every random generator a step may draw from: torch (CPU and devices), NumPy, Python.

>>> before = RandomState.now()
>>> a = torch.rand(2)
>>> before.restore()
>>> torch.equal(a, torch.rand(2))
True
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from typing import Any

import torch

from dipole.core.seed import seed_of


class RandomState:
    """A picture of the generators of this process.

    A step takes many, so the generators' own states are kept as they come; only a checkpoint wants them as ``tensors``.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        numpy: Any = None
        version, *words = tensors["python"].tolist()
        gauss = tensors["python.gauss"].tolist()
        python = (version, tuple(words), gauss[0] if gauss else None)
        if "numpy" in tensors:
            position, has_gauss = tensors["numpy.at"].tolist()
            key = tensors["numpy"].numpy().astype("uint32")
            numpy = ("MT19937", key, position, has_gauss, float(tensors["numpy.gauss"][0]))
        cuda = tensors["cuda"].cpu() if "cuda" in tensors else None
        self._states = (tensors["torch"].cpu(), cuda, python, numpy)

    @classmethod
    def now(cls) -> RandomState:
        """Take the picture. NumPy is looked at only where something imported it."""
        cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() and torch.cuda.is_initialized() else None
        numpy = _numpy()
        picture = cls.__new__(cls)
        picture._states = (torch.get_rng_state(), cuda, random.getstate(), None if numpy is None else numpy.random.get_state())
        return picture

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """The picture as a checkpoint keeps it."""
        cpu, cuda, (version, words, gauss), numpy = self._states
        tensors = {
            "torch": cpu,
            "python": torch.tensor([version, *words], dtype=torch.int64),
            "python.gauss": torch.tensor([] if gauss is None else [gauss], dtype=torch.float64),
        }
        if cuda is not None:
            tensors["cuda"] = cuda
        if numpy is not None:
            _, key, position, has_gauss, second = numpy
            tensors["numpy"] = torch.tensor(key.astype("int64"))
            tensors["numpy.at"] = torch.tensor([position, has_gauss], dtype=torch.int64)
            tensors["numpy.gauss"] = torch.tensor([second], dtype=torch.float64)
        return tensors

    def restore(self) -> None:
        """Put every generator back to where it was."""
        cpu, cuda, python, numpy = self._states
        torch.set_rng_state(cpu)
        random.setstate(python)
        if cuda is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(cuda)
        module = _numpy()
        if numpy is not None and module is not None:
            module.random.set_state(numpy)


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
