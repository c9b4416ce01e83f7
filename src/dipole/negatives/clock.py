"""How many steps a part has seen: what its chance is drawn from, so that all processes and resumed runs draw alike."""

from __future__ import annotations

import torch
from torch import nn

from dipole.core.seed import dice


class Clock(nn.Module):
    """A count that checkpoints hold."""

    now: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("now", torch.zeros((), dtype=torch.int64))

    def tick(self) -> None:
        """One step more."""
        self.now += 1

    def dice(self, seed: int, name: str) -> torch.Generator:
        """This step's generator, on the CPU."""
        return dice(seed, name, int(self.now))
