"""Ramp: a weight that rises to 1 over the first steps of a training, and goes on where it was after a resume."""

from __future__ import annotations

import torch
from torch import nn


class Ramp(nn.Module):
    """``min(1, n / steps)`` after n calls of ``advance``; 1 throughout where ``steps`` is 0. Checkpoints hold n.

    >>> ramp = Ramp(4)
    >>> seen = []
    >>> for _ in range(6):
    ...     seen.append(ramp.height)
    ...     ramp.advance()
    >>> seen, Ramp(0).height
    ([0.0, 0.25, 0.5, 0.75, 1.0, 1.0], 1.0)
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        if steps:  # without one there is nothing to keep
            self.register_buffer("done", torch.zeros((), dtype=torch.int64))

    @property
    def height(self) -> float:
        """From 0 to 1."""
        return min(1.0, int(self.get_buffer("done")) / self.steps) if self.steps else 1.0

    def advance(self) -> None:
        """One step more."""
        if self.steps:
            self.get_buffer("done").add_(1)
