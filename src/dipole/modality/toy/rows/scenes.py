"""Toy pictures with captions: coloured shapes on a grid of cells, and captions that differ in who has which colour.

A scene holds a few objects, no two of one colour or one shape, each in a cell of its own of a 4 x 4 grid. The caption names them in
any order; the row's negatives change one thing: two colours change places, one colour or one shape is another. All from one seed.
"""

from __future__ import annotations

import random

import torch

from dipole.core.made import Made
from dipole.core.part import at_least, between, part
from dipole.core.protocols import Row

__all__ = ["Scenes"]

COLORS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (1, 1, 0), "white": (1, 1, 1)}
SHAPES = {
    "square": "1111 1111 1111 1111",
    "ring": "1111 1001 1001 1111",
    "cross": "1001 0110 0110 1001",
    "bar": "0110 0110 0110 0110",
    "corner": "1000 1000 1000 1111",
}
CELLS, PIXELS = 4, 4  # cells a side, pixels a side of a cell
Thing = tuple[str, str]  # colour, shape


@part
class Scenes(Made):
    """Rows ``anchor`` (3, 16, 16) uint8, ``positive`` a caption, ``negative`` three captions that are wrong, ``cells`` where each
    object is, 0 to 15, in the caption's order, ``label`` equal for scenes of the same objects.
    """

    count: int = at_least(1, 512, "how many rows")
    objects: int = between(2, 3, 2, "objects of a scene")
    noise: float = between(0.0, 1.0, 0.2, "of every pixel, how far it may be from what is drawn")
    seed: int = at_least(0, 0, "equal seeds, equal rows")

    def __post_init__(self) -> None:
        chance = random.Random(f"scenes {self.seed}")
        dice = torch.Generator().manual_seed(self.seed)
        rows: list[Row] = []
        for _ in range(self.count):
            colors, shapes = chance.sample(list(COLORS), self.objects), chance.sample(list(SHAPES), self.objects)
            things, cells = list(zip(colors, shapes, strict=True)), chance.sample(range(CELLS * CELLS), self.objects)
            image = drawn(things, cells)
            image = (image + self.noise * (torch.rand(image.shape, generator=dice) * 2 - 1)).clamp(0, 1)
            rows.append(
                {
                    "anchor": (image * 255).round().to(torch.uint8),
                    "positive": told(things),
                    "negative": [told(wrong) for wrong in changed(things, chance)],
                    "cells": cells,
                    "label": sum(1 << (5 * list(COLORS).index(c) + list(SHAPES).index(s)) for c, s in things),
                }
            )
        self.keep(rows, repr([(row["anchor"].numpy().tobytes(), row["positive"], row["negative"]) for row in rows]).encode())


def drawn(things: list[Thing], cells: list[int]) -> torch.Tensor:
    """(3, 16, 16) float32 in 0 .. 1: the objects on black, each in its cell, cells row by row."""
    image = torch.zeros(3, CELLS * PIXELS, CELLS * PIXELS)
    for (color, shape), cell in zip(things, cells, strict=True):
        ink = torch.tensor([[float(bit) for bit in row] for row in SHAPES[shape].split()])
        top, left = cell // CELLS * PIXELS, cell % CELLS * PIXELS
        image[:, top : top + PIXELS, left : left + PIXELS] = torch.tensor(COLORS[color]).float()[:, None, None] * ink
    return image


def told(things: list[Thing]) -> str:
    """The caption."""
    return " and ".join(f"a {color} {shape}" for color, shape in things)


def changed(things: list[Thing], chance: random.Random) -> list[list[Thing]]:
    """Colours of the first two exchanged; one colour replaced; one shape replaced."""
    (color, shape), (other_color, other_shape), *rest = things
    place = chance.randrange(len(things))
    mine = things[place]
    new_color = chance.choice([c for c in COLORS if c not in [t[0] for t in things]])
    new_shape = chance.choice([s for s in SHAPES if s not in [t[1] for t in things]])
    return [
        [(other_color, shape), (color, other_shape), *rest],
        [*things[:place], (new_color, mine[1]), *things[place + 1 :]],
        [*things[:place], (mine[0], new_shape), *things[place + 1 :]],
    ]
