"""The smallest encoder that can learn: a hashed bag of words, the mean of its embeddings, one linear layer.

    v = normalise(W dropout(mean_t E[hash(word_t)]))

Shapes: B texts, L words of the longest, d = ``dimension``. torch only; the same hash in every process.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dipole.core.encoded import Encoded
from dipole.core.errors import CheckpointError, DataError
from dipole.core.extras import need
from dipole.core.part import at_least, between, part, switch

__all__ = ["Bag"]


@part
class Bag(nn.Module):
    """Texts -> vectors, with the surface of ``text.transformer``. Weights are drawn from torch's generator."""

    dimension: int = at_least(1, 32, "d")
    buckets: int = at_least(1, 2048, "words share a bucket by chance")
    dropout: float = between(0.0, 0.9, 0.1, "share of numbers set to 0 in train mode")
    normalize: bool = switch(True, "unit length, so that the dot product is the cosine")

    def __post_init__(self) -> None:
        self.embedding = nn.Embedding(self.buckets + 1, self.dimension, padding_idx=0)
        self.linear = nn.Linear(self.dimension, self.dimension, bias=False)
        self.drop = nn.Dropout(self.dropout)

    def prepare(self, items: Sequence[Any], side: str = "queries") -> Mapping[str, torch.Tensor]:
        """``words`` (B, L) int64, 0 where a text is shorter."""
        rows = []
        for place, item in enumerate(items):
            if not isinstance(item, str):
                raise DataError(f"toy.bag: item {place} of {side} must be a text", value=item)
            rows.append([zlib.crc32(word.encode()) % self.buckets + 1 for word in item.lower().split()] or [0])
        longest = max(map(len, rows), default=1)
        return {"words": torch.tensor([row + [0] * (longest - len(row)) for row in rows], dtype=torch.int64).view(len(rows), longest)}

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Encoded:
        """The vectors of prepared inputs."""
        mask = inputs["words"] > 0
        tokens = self.embedding(inputs["words"])
        mean = (tokens * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        vectors = self.linear(self.drop(mean))
        return Encoded(nn.functional.normalize(vectors, dim=-1) if self.normalize else vectors, tokens, mask, vectors)

    @torch.no_grad()
    def encode(self, items: Sequence[str], batch_size: int = 32, progress: bool = False, side: str = "") -> torch.Tensor:
        """(N, d) float32 on the CPU, dropout off. ``progress`` and ``side`` change nothing here."""
        training, device = self.training, self.linear.weight.device
        self.eval()
        try:
            starts = range(0, len(items), batch_size)
            parts = [self({"words": self.prepare(items[s : s + batch_size])["words"].to(device)}).pooled.float().cpu() for s in starts]
        finally:
            self.train(training)
        return torch.cat(parts) if parts else torch.empty(0, self.dimension)

    @property
    def identity(self) -> str:
        """sha256 of the weights' bytes and the settings that change a vector."""
        digest = hashlib.sha256(json.dumps([self.dimension, self.buckets, self.normalize]).encode())
        for _, tensor in sorted(self.state_dict().items()):
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return digest.hexdigest()

    def save(self, folder: str | Path) -> Path:
        """Write ``bag.safetensors``, weights and settings, into ``folder``."""
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        settings = {"settings": json.dumps([self.dimension, self.buckets, self.dropout, self.normalize])}
        tensors = need("safetensors.torch", "text", "saving toy.bag")
        temporary = place / ".bag.safetensors"
        tensors.save_file({k: v.detach().cpu().contiguous() for k, v in self.state_dict().items()}, temporary, metadata=settings)
        temporary.replace(place / "bag.safetensors")
        return place

    @classmethod
    def load(cls, folder: str | Path) -> Bag:
        """What :meth:`save` wrote. Raises CheckpointError where it is not there or broken."""
        tensors = need("safetensors", "text", "loading toy.bag")
        try:
            with tensors.safe_open(Path(folder) / "bag.safetensors", framework="pt") as held:
                bag = cls(*json.loads(held.metadata()["settings"]))
                bag.load_state_dict({name: held.get_tensor(name) for name in held.keys()})  # noqa: SIM118
        except Exception as error:
            raise CheckpointError(f"{folder}: no toy.bag can be read from here ({type(error).__name__}: {error})") from error
        return bag
