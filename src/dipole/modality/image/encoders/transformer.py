"""A pretrained image model of the transformers library: CLIP's and SigLIP's image towers, ViT, DINOv2 and their kin.

    image -> resized, cropped, normalised as the model's folder says -> model -> pooling -> normalisation

Shapes: B images, L tokens, d dimensions: ``pooled`` and ``pre_norm`` (B, d); ``tokens`` (B, L, h) are the model's last hidden
states with ``mask`` all True, h = d unless the model projects its pooled vector. A new encoder is in train mode.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dipole.core.encoded import Encoded
from dipole.core.errors import CheckpointError, ParameterError
from dipole.core.part import at_least, choice, part, switch, words
from dipole.modality import weights
from dipole.modality.image.pretrained import Looks, open_model
from dipole.modality.truncation import Truncation

__all__ = ["Transformer"]


@part
class Transformer(nn.Module):
    """Images -> vectors. Of a model with two towers (CLIP, SigLIP) the image tower is taken, with its projection.

    Raises UsageError where the model cannot be found, CheckpointError where it is broken, DataError for items that are no
    images.
    """

    model: str = words(about="a folder in transformers' layout, a run folder or a hub id")
    pool: str = choice(("", "mean", "cls"), "", "one vector from the tokens'; empty: the model's own, projection included")
    size: int = at_least(0, 0, "pixels a side; 0: the model's own")
    normalize: bool = switch(True, "unit length, so that the dot product is the cosine")

    def __post_init__(self) -> None:
        self.inner, self.looks = open_model(self.model)
        own = int(getattr(self.inner.config, "image_size", 0) or 0)
        if self.size and own and self.size != own:
            raise ParameterError("image.transformer", "size", f"the model's own, {own}: its positions are learned", self.size)
        self.looks = Looks(self.size or self.looks.size, self.looks.short_side, self.looks.mean, self.looks.std)
        with torch.no_grad():
            self.inner.eval()
            found = self._pooled(self.inner(pixel_values=torch.zeros(1, 3, self.looks.size, self.looks.size)))
        self.dimension = int(found.shape[-1])
        self.truncated = Truncation()
        self.train()

    def prepare(self, items: Sequence[Any], side: str = "queries") -> Mapping[str, torch.Tensor]:
        """``pixels`` (B, 3, size, size) float32, normalised as the model wants them."""
        return {"pixels": self.looks.batch(items, f"image.transformer, {side}")}

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Encoded:
        """The vectors of prepared inputs."""
        found = self.inner(pixel_values=inputs["pixels"])
        before = self._pooled(found)
        tokens = found.last_hidden_state
        if tokens.dim() == 4:  # a convolutional model: (B, h, S, S)
            tokens = tokens.flatten(2).transpose(1, 2)
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return Encoded(nn.functional.normalize(before, dim=-1) if self.normalize else before, tokens, mask, before)

    def encode(self, items: Sequence[Any], batch_size: int = 32, progress: bool = False, side: str = "") -> torch.Tensor:
        """(N, d) float32 on the CPU, dropout off. ``side`` changes nothing here."""
        return weights.encode(self, items, batch_size, side or "queries", progress)

    @property
    def identity(self) -> str:
        """sha256 of the weights' bytes and all settings that change a vector."""
        config = {k: v for k, v in self.inner.config.to_diff_dict().items() if k not in weights.INCIDENTAL}
        said = json.loads(json.dumps([self.pool, self.normalize, self.looks.settings(), config], sort_keys=True, default=str))
        return weights.identity(self, said)

    def save(self, folder: str | Path) -> Path:
        """Write a folder that transformers' ``from_pretrained`` opens, and this part with ``model = folder``."""
        place = Path(folder)
        self.inner.save_pretrained(place, safe_serialization=True)
        (place / "preprocessor_config.json").write_text(json.dumps(self.looks.settings(), indent=1) + "\n", encoding="utf-8")
        (place / "dipole.json").write_text(json.dumps({"pool": self.pool, "normalize": self.normalize}) + "\n", encoding="utf-8")
        return place

    @classmethod
    def load(cls, folder: str | Path) -> Transformer:
        """What :meth:`save` wrote, pooling and normalisation included; any other model folder with its own."""
        said = Path(folder) / "dipole.json"
        try:
            settings = json.loads(said.read_text(encoding="utf-8")) if said.is_file() else {}
        except ValueError as error:
            raise CheckpointError(f"{said}: is not valid JSON; save the model again") from error
        return cls(model=str(folder), **settings)

    def _pooled(self, found: Any) -> torch.Tensor:
        if not self.pool:
            vectors = next((v for name in ("image_embeds", "pooler_output") if (v := getattr(found, name, None)) is not None), None)
            if vectors is not None:
                return torch.as_tensor(vectors).flatten(1)
        tokens: torch.Tensor = found.last_hidden_state
        if tokens.dim() == 4:
            return tokens.mean((2, 3))
        return tokens.mean(1) if self.pool == "mean" else tokens[:, 0]
