"""Codebook: images and texts are both said again in one learned vocabulary, a few codes each, and only that is compared.

    u_k = max_l <q_l, c_k> / (T sqrt(d))      w = sparsemax(u)      v = normalise(sum_k w_k c_k),   q_l = B LN(gelu(A LN(x_l)))

Shapes: tokens x (B, L, D) of the encoder inside, K codes c of d dimensions, shared; A and B for each tower of its own. Tokens the
mask leaves out are not read. Source: FDT, arXiv:2303.14865; the authors' code gives masked tokens the score 0 instead, so that a
code whose best score is negative counts with 0. Codes outside w get no gradient, neither as key nor as value.

T starts high, where all codes are read alike, and is multiplied by ``decay`` every ``every`` steps until ``floor``; a low T leaves
one code. Goes around an encoder that returns tokens of its vectors' length. Errors: DataError where it does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dipole.core.encoded import Encoded
from dipole.core.errors import DataError
from dipole.core.part import at_least, part, positive, wrapped
from dipole.core.sparsemax import sparsemax
from dipole.modality import weights

__all__ = ["Codebook"]
_FILE = "codebook.safetensors"


class Reading(nn.Module):
    """What is learned: the codes, a map from tokens to queries for each tower, and T as it is now."""

    temperature: torch.Tensor

    def __init__(self, towers: Sequence[str], into: int, codes: int, dimension: int, temperature: float) -> None:
        super().__init__()
        self.codes = nn.Parameter(torch.randn(codes, dimension))
        self.maps = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.LayerNorm(into), nn.Linear(into, dimension), nn.GELU(), nn.LayerNorm(dimension), nn.Linear(dimension, dimension)
                )
                for name in towers
            }
        )
        self.register_buffer("temperature", torch.tensor(float(temperature)))

    def shares(self, tokens: torch.Tensor, mask: torch.Tensor, tower: str) -> torch.Tensor:
        """(B, K): how much of each code an item is, in all 1. An item without tokens is all codes alike."""
        queries = self.maps[tower](tokens)
        scores = queries @ self.codes.T / (self.codes.shape[1] ** 0.5 * self.temperature)
        best = scores.masked_fill(~mask[..., None], -torch.inf).amax(1)
        return sparsemax(best.masked_fill(~mask.any(1)[:, None], 0.0))


@part
class Codebook(nn.Module):
    """What is saved, evaluated and searched with are the mixtures of codes."""

    encoder: Any = wrapped("the encoder whose tokens are read")
    codes: int = at_least(2, 16384, "K")
    dimension: int = at_least(1, 512, "d")
    temperature: float = positive(1000.0, "T at the start")
    decay: float = positive(1.0, "what T is multiplied by")
    every: int = at_least(1, 2700, "steps between two changes of T")
    floor: float = positive(0.01, "the lowest T")

    def __post_init__(self) -> None:
        towers = list(getattr(self.encoder, "towers", {"": None}))
        self.reading = Reading([name or "all" for name in towers], self.encoder.dimension, self.codes, self.dimension, self.temperature)
        self.train()

    def prepare(self, items: Sequence[Any], side: str = "queries") -> Mapping[str, torch.Tensor]:
        """What the encoder inside prepares."""
        found: Mapping[str, torch.Tensor] = self.encoder.prepare(items, side)
        return found

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Encoded:
        """The vectors of prepared inputs."""
        mixed = self.shares(inputs) @ self.reading.codes
        return Encoded(nn.functional.normalize(mixed, dim=-1), pre_norm=mixed)

    def shares(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """(B, K) the shares of the codes of prepared inputs; those above 0 name what is in an item."""
        found: Encoded = self.encoder(inputs)
        if found.tokens is None or found.mask is None or found.tokens.shape[-1] != self.encoder.dimension:
            raise DataError(
                "image.codebook: the encoder must return tokens of the length of its vectors",
                value=None if found.tokens is None else tuple(found.tokens.shape),
                remedy="give the towers and image.two_towers one dimension",
            )
        tower = next(iter(inputs)).split(".", 1)[0]
        return self.reading.shares(found.tokens, found.mask, tower if tower in self.reading.maps else "all")

    @torch.no_grad()
    def after_step(self, step: int, steps: int) -> None:
        """Lower T; ``step`` of ``steps`` optimizer steps are done."""
        self.reading.temperature.fill_(max(self.temperature * self.decay ** (step // self.every), self.floor))
        getattr(self.encoder, "after_step", lambda step, steps: None)(step, steps)

    def learns(self, side: str) -> bool:
        """Whether gradients reach the encoder from that side."""
        return bool(getattr(self.encoder, "learns", lambda side: True)(side))

    def encode(self, items: Sequence[Any], batch_size: int = 32, progress: bool = False, side: str = "") -> torch.Tensor:
        """(N, d) float32 on the CPU, dropout off. All items must belong to one side."""
        return weights.encode(self, items, batch_size, side, progress)

    @property
    def truncated(self) -> Any:
        """How many texts the encoder inside cut."""
        return self.encoder.truncated

    @property
    def identity(self) -> str:
        """sha256 of the encoder's identity and all that is learned here."""
        return weights.identity(self.reading, [self.encoder.identity])

    def save(self, folder: str | Path) -> Path:
        """Write the encoder into ``encoder/`` and what is learned here beside it."""
        place = Path(folder)
        self.encoder.save(place / "encoder")
        return weights.save(self.reading, place, _FILE, weights.settings_of(self) | {"encoder": weights.name_of(self.encoder)}, self)

    @classmethod
    def load(cls, folder: str | Path) -> Codebook:
        """What :meth:`save` wrote. Raises CheckpointError where it is not there or broken."""
        tensors, settings = weights.read(folder, _FILE, "image.codebook")
        settings["encoder"] = weights.part_of(settings["encoder"], folder).load(Path(folder) / "encoder")
        made = cls(**settings)
        made.reading.load_state_dict(tensors)
        return made
