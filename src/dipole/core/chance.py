"""Chance that falls alike on every process, and again after a resume.

Processes seed their own generators differently, so a part that draws for the whole batch must not use them. ``Chance`` counts its draws
in a buffer: a checkpoint keeps it, copies go on from it, and N processes draw what one would.
"""

from __future__ import annotations

import torch
from torch import nn


class Chance(nn.Module):
    """A source of generators, one a step.

    >>> one, other = Chance(), Chance()
    >>> torch.equal(torch.rand(3, generator=one.next()), torch.rand(3, generator=other.next()))
    True
    >>> torch.equal(torch.rand(3, generator=one.next()), torch.rand(3, generator=Chance().next()))
    False
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed
        self.register_buffer("drawn", torch.zeros((), dtype=torch.int64))

    def next(self) -> torch.Generator:
        """A CPU generator that no earlier call returned."""
        drawn = self.get_buffer("drawn")
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + int(drawn)) % 2**63)
        drawn.add_(1)
        return generator
