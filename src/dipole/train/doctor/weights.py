"""Whether everything that should learn does: parameters without a gradient, and parameters that stand still."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


class Weights:
    """Looks at each learned parameter on every reading, after backward and before the optimizer moves.

    A parameter has no gradient where it is None or all zero. It stands still where its entry of largest gradient has the
    same value a reading later: AdamW moves such an entry by about the learning rate, unless the number format rounds that away.
    """

    def __init__(self, named: Sequence[tuple[str, nn.Parameter]]) -> None:
        self.named = [(name, p) for name, p in named if p.requires_grad]
        self.silent = [0] * len(self.named)  # readings in a row without a gradient
        self.still = [0] * len(self.named)  # readings in a row without a move
        self._marks: list[tuple[torch.Tensor, torch.Tensor] | None] = [None] * len(self.named)

    @torch.no_grad()
    def read(self, moving: bool) -> None:
        """One reading. ``moving``: the learning rate was above 0 since the last one."""
        held = [i for i, (_, p) in enumerate(self.named) if p.grad is not None and p.numel()]
        grads = [self.named[i][1].grad for i in held]
        tops = [g.abs().flatten().max(0) for g in grads if g is not None]
        largest = torch.stack([t.values.float() for t in tops]).tolist() if tops else []
        moved = self._moved()
        marks: list[tuple[torch.Tensor, torch.Tensor] | None] = [None] * len(self.named)
        for i, value, top in zip(held, largest, tops, strict=True):
            if value > 0:
                marks[i] = (top.indices, self.named[i][1].detach().flatten()[top.indices].clone())
        for i in range(len(self.named)):
            self.silent[i] = 0 if marks[i] is not None else self.silent[i] + 1
            if self._marks[i] is not None:
                self.still[i] = 0 if moved[i] or not moving else self.still[i] + 1
        self._marks = marks

    def _moved(self) -> list[bool]:
        marked = [(i, mark) for i, mark in enumerate(self._marks) if mark is not None]
        moved = [True] * len(self.named)
        if marked:
            same = torch.stack([(self.named[i][1].detach().flatten()[at] == was).cpu() for i, (at, was) in marked])
            for (i, _), equal in zip(marked, same.tolist(), strict=True):
                moved[i] = not equal
        return moved

    def without_gradient(self, readings: int) -> list[str]:
        """Names of the parameters without a gradient for as many readings in a row."""
        return [name for (name, _), count in zip(self.named, self.silent, strict=True) if count >= readings]

    def standing_still(self, readings: int) -> list[str]:
        """Names of the parameters with a gradient that did not move."""
        return [name for (name, _), count in zip(self.named, self.still, strict=True) if count >= readings]
