"""A toy world for tests of training: sentences over a tiny vocabulary, an encoder with dropout, aligned pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dipole.core.encoded import Encoded
from dipole.losses import InfoNCE
from dipole.pairwise.scores.scaled_cosine import ScaledCosine
from dipole.train.recipe import Recipe
from dipole.train.step import Step
from dipole.views.aligned import Aligned


class Sentences:
    """Row i: an anchor of words of topic i mod 5, and a positive of other words of the same topic."""

    def __init__(self, rows: int = 50, salt: int = 0) -> None:
        dice = torch.Generator().manual_seed(salt)
        self.rows = []
        for i in range(rows):
            words = [f"w{i % 5}{int(n)}" for n in torch.randint(0, 9, (10,), generator=dice)]
            length = 3 + i % 5
            self.rows.append({"anchor": f"{i} " + " ".join(words[:length]), "positive": f"{i} " + " ".join(words[-length:])})

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self.rows[index]

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self.rows)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(repr(self.rows).encode()).hexdigest()


class Bag(nn.Module):
    """Words are hashed to embeddings; dropout; a linear layer; the mean."""

    def __init__(self, seed: int = 0, dropout: float = 0.2) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.words, self.drop, self.top = nn.Embedding(64, 16), nn.Dropout(dropout), nn.Linear(16, 8)
        self.register_buffer("scale", torch.ones(()))

    def prepare(self, items: Sequence[str], side: str = "queries") -> Mapping[str, torch.Tensor]:
        ids = [[1 + int(hashlib.sha256(w.encode()).hexdigest(), 16) % 63 for w in item.split()] for item in items]
        longest = max(map(len, ids))
        return {"ids": torch.tensor([i + [0] * (longest - len(i)) for i in ids])}

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Encoded:
        mask = inputs["ids"] > 0
        tokens = self.top(self.drop(self.words(inputs["ids"]))) * mask[..., None]
        return Encoded(tokens.sum(1) / mask.sum(1, keepdim=True), tokens=tokens, mask=mask)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "here").touch()


def recipe(rows: int = 50, seed: int = 0, **settings: Any) -> Recipe:
    """Aligned pairs, InfoNCE with a learned temperature, gradient caching."""
    defaults = {"batch_size": 8, "micro_batch_size": 3, "num_train_epochs": 3, "learning_rate": 1e-2, "warmup": 0.2, "save_steps": 4}
    encoder = Bag(seed)
    score, loss = ScaledCosine(), InfoNCE(temperature=1.0, two_sided=True)  # type: ignore[call-arg]
    return Recipe((Sentences(rows),), Aligned(), encoder, (loss,), score, step=Step(**{**defaults, **settings}))  # type: ignore[call-arg]
