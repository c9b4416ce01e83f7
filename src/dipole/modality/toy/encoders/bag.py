"""The smallest encoder that can learn: a hashed bag of words, the mean of its embeddings, one linear layer.

    v = normalise(W dropout(mean_t E[hash(word_t)]))      with ``ngrams`` above 1: runs of up to so many words are words too

Shapes: B texts, L words of the longest, d = ``dimension``. torch only; the same hash in every process.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from dipole.core.encoded import Encoded
from dipole.core.errors import DataError
from dipole.core.part import at_least, between, part, switch
from dipole.modality import weights
from dipole.modality.truncation import Truncation

__all__ = ["Bag"]


@part
class Bag(weights.Plain):
    """Texts -> vectors, with the surface of ``text.transformer``. Weights are drawn from torch's generator."""

    dimension: int = at_least(1, 32, "d")
    buckets: int = at_least(1, 2048, "words share a bucket by chance")
    dropout: float = between(0.0, 0.9, 0.1, "share of numbers set to 0 in train mode")
    normalize: bool = switch(True, "unit length, so that the dot product is the cosine")
    ngrams: int = at_least(1, 1, "words in a row that count as one, at most; 1: their order does not matter")

    incidental = ("dropout",)

    def __post_init__(self) -> None:
        self.embedding = nn.Embedding(self.buckets + 1, self.dimension, padding_idx=0)
        self.linear = nn.Linear(self.dimension, self.dimension, bias=False)
        self.drop = nn.Dropout(self.dropout)
        self.truncated = Truncation()

    def prepare(self, items: Sequence[Any], side: str = "queries") -> Mapping[str, torch.Tensor]:
        """``words`` (B, L) int64, single ones first, 0 where a text is shorter."""
        rows = []
        for place, item in enumerate(items):
            if not isinstance(item, str):
                raise DataError(f"toy.bag: item {place} of {side} must be a text", value=item)
            said = item.lower().split()
            runs = [" ".join(said[at : at + n]) for n in range(1, self.ngrams + 1) for at in range(len(said) - n + 1)]
            rows.append([zlib.crc32(word.encode()) % self.buckets + 1 for word in runs] or [0])
        longest = max(map(len, rows), default=1)
        return {"words": torch.tensor([row + [0] * (longest - len(row)) for row in rows], dtype=torch.int64).view(len(rows), longest)}

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Encoded:
        """The vectors of prepared inputs."""
        mask = inputs["words"] > 0
        tokens = self.embedding(inputs["words"])
        mean = (tokens * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        vectors = self.linear(self.drop(mean))
        return Encoded(nn.functional.normalize(vectors, dim=-1) if self.normalize else vectors, tokens, mask, vectors)
