"""Toy scenes of objects without pixels: a grid of feature tokens, some of which show an object, and an embedding of each object.

    z = class + spread * e,  e ~ N(0, I)      token of its cell = A z + noise      embedding = normalise(B z)      other tokens: noise

A and B are fixed random matrices, the same for every seed, as a backbone and the frozen network that embeds crops are two networks.
"""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from dipole.core.made import Made
from dipole.core.part import at_least, between, part

__all__ = ["Objects"]


@part
class Objects(Made):
    """Rows ``anchor``, ``{"tokens": (grid * grid, size), "objects": (n, size)}`` float32, n from 1 to ``most``; ``cells`` where they are,
    ``classes`` what they are, and ``label`` equal where the classes are."""

    count: int = at_least(1, 512, "how many rows")
    classes: int = between(2, 60, 8, "of objects")
    most: int = at_least(1, 4, "objects of a scene, at most")
    grid: int = at_least(2, 4, "cells a side")
    size: int = at_least(2, 16, "length of z, of tokens and of embeddings")
    spread: float = at_least(0.0, 0.5, "how much objects of one class differ, of how much classes do")
    noise: float = at_least(0.0, 0.5, "standard deviation of what is added to every token")
    seed: int = at_least(0, 0, "equal seeds, equal rows")

    def __post_init__(self) -> None:
        world, chance = torch.Generator().manual_seed(0), torch.Generator().manual_seed(self.seed + 1)
        means = torch.randn(self.classes, self.size, generator=world)
        shown, embedded = (torch.randn(self.size, self.size, generator=world) / self.size**0.5 for _ in range(2))
        rows, content = [], []
        for _ in range(self.count):
            held = int(torch.randint(1, min(self.most, self.grid**2) + 1, (), generator=chance))
            cells = torch.randperm(self.grid**2, generator=chance)[:held]
            what = torch.randint(self.classes, (held,), generator=chance)
            z = means[what] + self.spread * torch.randn(held, self.size, generator=chance)
            tokens = self.noise * torch.randn(self.grid**2, self.size, generator=chance)
            tokens[cells] += z @ shown
            item = {"tokens": tokens, "objects": normalize(z @ embedded, dim=1)}
            label = sum(1 << c for c in set(what.tolist()))
            rows.append({"anchor": item, "cells": cells.tolist(), "classes": what.tolist(), "label": label})
            content.append(tokens.numpy().tobytes() + item["objects"].numpy().tobytes())
        self.keep(rows, b"".join(content))
