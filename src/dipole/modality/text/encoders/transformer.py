"""A sentence encoder: any sentence-transformers model, taken apart so that training sees every stage.

    text -> tokens -> transformer -> pooling -> (further layers) -> normalisation

Shapes: B texts, L tokens of the longest, d dimensions: ``pooled`` and ``pre_norm`` (B, d), ``tokens`` (B, L, d), ``mask``
(B, L). A new encoder is in train mode, as every ``nn.Module`` is: dropout is on until ``eval()``; ``encode`` switches it
off for itself. Source: the folder format of sentence-transformers; what :meth:`Transformer.save` writes opens there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dipole.core.encoded import Encoded
from dipole.core.errors import DataError, ParameterError
from dipole.core.extras import need
from dipole.core.part import at_least, choice, part, switch, words
from dipole.modality.truncation import Truncation

__all__ = ["Transformer"]

_PROMPTS = {"queries": ("query",), "keys": ("document", "passage"), "negatives": ("document", "passage")}


@part
class Transformer(nn.Module):
    """Texts -> vectors. See the module's text.

    Raises UsageError where the model cannot be found, CheckpointError where it is broken, DataError for items that are
    no texts.
    """

    model: str = words("minilm", "'minilm', a model folder, a run folder or a hub id")
    pool: str = choice(("", "mean", "cls", "max"), "", "one vector from the tokens': empty for what the model says")
    max_tokens: int = at_least(0, 0, "longer texts are cut, and counted; 0 for the model's own limit")
    normalize: bool = switch(True, "unit length, so that the dot product is the cosine")

    def __post_init__(self) -> None:
        from dipole.modality.text.assemble import assemble

        self.sentence = assemble(self.model, self.pool, self.max_tokens, self.normalize)
        self.truncated = Truncation(self.limit)
        self.train()

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of the underlying model."""
        return self.sentence.tokenizer

    @property
    def limit(self) -> int:
        """Tokens a text may have, special ones included."""
        return int(self.sentence.max_seq_length)

    @property
    def dimension(self) -> int:
        """d, the length of a vector."""
        return int(self.sentence.get_embedding_dimension())

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def identity(self) -> str:
        """sha256 of the weights' bytes, the tokenizer and all settings that change a vector."""
        from dipole.modality.text.identity import identity

        return identity(self.sentence)

    def prompt(self, side: str) -> str:
        """What the model's folder says to write before a text of this side; mostly nothing."""
        prompts = self.sentence.prompts or {}
        for name in (*_PROMPTS.get(side, ()), side, self.sentence.default_prompt_name):
            if name and prompts.get(name):
                return str(prompts[name])
        return ""

    def prepare(self, items: Sequence[Any], side: str = "queries") -> Mapping[str, torch.Tensor]:
        """Tokenise and pad to the longest: int64 tensors (B, L) on the CPU."""
        prompt = self.prompt(side)
        for place, item in enumerate(items):
            if not isinstance(item, str):
                raise DataError(f"text.transformer: item {place} of {side} must be a text", value=item)
        texts = [prompt + item for item in items] if prompt else list(items)
        found = self.tokenizer(texts, truncation=True, max_length=self.limit, padding=True, return_tensors="pt")
        self.truncated.seen += len(texts)
        self.truncated.truncated += sum(bool(e.overflowing) for e in found.encodings or ())
        return dict(found)

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Encoded:
        """The vectors of prepared inputs."""
        from sentence_transformers.sentence_transformer.modules import Normalize

        features: dict[str, Any] = dict(inputs)
        before: torch.Tensor | None = None
        for module in self.sentence:
            if isinstance(module, Normalize):
                before = features["sentence_embedding"]
            features = module(features)
        pooled = features["sentence_embedding"]
        mask = inputs["attention_mask"].bool()
        return Encoded(pooled, features["token_embeddings"], mask, pooled if before is None else before)

    @torch.no_grad()
    def encode(self, items: Sequence[str], batch_size: int = 32, progress: bool = False, side: str = "") -> torch.Tensor:
        """(N, d) float32 on the CPU, dropout off, in the order given. Texts of similar length share a batch.

        ``side``: ``queries`` or ``keys`` where the model has prompts for them.
        """
        if isinstance(items, str):
            raise DataError("encode takes a list of texts", value=items, remedy="write [text]")
        if batch_size < 1:
            raise ParameterError("encode", "batch_size", "a whole number above 0", batch_size)
        vectors = torch.empty(len(items), self.dimension)
        for chosen, encoded in self._encoded(items, batch_size, progress, side):
            vectors[torch.tensor(chosen)] = encoded.pooled.float().cpu()
        return vectors

    @torch.no_grad()
    def encode_tokens(self, items: Sequence[str], batch_size: int = 32, side: str = "") -> list[torch.Tensor]:
        """One (L, d) float32 tensor of unit vectors a text, on the CPU: those of its tokens, for late interaction."""
        tokens: list[torch.Tensor] = [torch.empty(0)] * len(items)
        for chosen, encoded in self._encoded(items, batch_size, False, side):
            assert encoded.tokens is not None and encoded.mask is not None
            for place, vectors, mask in zip(chosen, encoded.tokens, encoded.mask, strict=True):
                tokens[place] = nn.functional.normalize(vectors[mask].float(), dim=-1).cpu()
        return tokens

    def _encoded(self, items: Sequence[str], batch_size: int, progress: bool, side: str) -> Iterator[tuple[list[int], Encoded]]:
        """Batches of texts of similar length: their places and what the model says of them, dropout off."""
        order = sorted(range(len(items)), key=lambda i: -len(items[i]))
        training, device = self.training, self.device
        starts: Any = range(0, len(order), batch_size)
        if progress:
            starts = need("tqdm", "text", "a progress bar").tqdm(starts, desc="encode", unit="batch", leave=False)
        self.eval()
        try:
            for start in starts:
                chosen = order[start : start + batch_size]
                inputs = {k: v.to(device) for k, v in self.prepare([items[i] for i in chosen], side).items()}
                yield chosen, self(inputs)
        finally:
            self.train(training)

    def save(self, folder: str | Path, trained_from: str = "", notes: str = "") -> Path:
        """Write a folder that ``SentenceTransformer(folder)`` opens with the same vectors, model card included.

        Nothing half-written stays behind: the folder is written beside its place and moved there. ``trained_from`` and
        ``notes`` go into the card.
        """
        from dipole.modality.text.save import save

        return save(self, Path(folder), trained_from or self.model, notes)

    @classmethod
    def load(cls, folder: str | Path) -> Transformer:
        """The encoder of a folder, with the folder's own pooling and limit."""
        return cls(model=str(folder))
