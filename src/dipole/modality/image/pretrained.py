"""Pretrained image models by name, and how they want their images: resized, cropped, normalised."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from dipole.core.extras import need
from dipole.modality.hub import find, opened
from dipole.modality.image.pixels import pixels

# The image tower of a model with two towers, by the type its configuration names.
_TOWERS = {
    "clip": "CLIPVisionModelWithProjection",
    "clip_vision_model": "CLIPVisionModelWithProjection",
    "siglip": "SiglipVisionModel",
    "siglip_vision_model": "SiglipVisionModel",
}
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Looks:
    """How an image becomes the model's input: the short side to ``short_side`` (0: both sides to ``size``), the middle cut
    out, ``mean`` and ``std`` of each channel taken off.
    """

    size: int
    short_side: int = 0
    mean: tuple[float, float, float] = _IMAGENET[0]
    std: tuple[float, float, float] = _IMAGENET[1]

    def batch(self, items: Sequence[Any], what: str) -> torch.Tensor:
        """(B, 3, size, size) float32."""
        if not items:
            return torch.zeros(0, 3, self.size, self.size)
        images = torch.stack([self._fit(pixels(item, 3, f"{what}: item {place}")) for place, item in enumerate(items)])
        return (images - torch.tensor(self.mean)[:, None, None]) / torch.tensor(self.std)[:, None, None]

    def settings(self) -> dict[str, Any]:
        """The ``preprocessor_config.json`` that says the same."""
        said: dict[str, Any] = {"do_resize": True, "do_rescale": True, "do_normalize": True, "resample": 3}
        said |= {"image_mean": list(self.mean), "image_std": list(self.std), "do_center_crop": bool(self.short_side)}
        if self.short_side:
            return said | {"size": {"shortest_edge": self.short_side}, "crop_size": {"height": self.size, "width": self.size}}
        return said | {"size": {"height": self.size, "width": self.size}}

    def _fit(self, image: torch.Tensor) -> torch.Tensor:
        height, width = image.shape[1:]
        if self.short_side:
            scale = max(self.short_side, self.size) / min(height, width)
            height, width = max(self.size, round(height * scale)), max(self.size, round(width * scale))
        else:
            height = width = self.size
        image = functional.interpolate(image[None], (height, width), mode="bicubic", antialias=True, align_corners=False)[0].clamp(0, 1)
        top, left = (height - self.size) // 2, (width - self.size) // 2
        return image[:, top : top + self.size, left : left + self.size]


def open_model(name: str) -> tuple[Any, Looks]:
    """The model in eval mode, and its looks. Raises UsageError and CheckpointError as text models do."""
    place, local = find(name)
    return opened(name, place, local, _open)


def looks_of(settings: dict[str, Any], config: Any) -> Looks:
    """Read ``preprocessor_config.json``; what it does not say is the configuration's and ImageNet's."""
    said, cut = settings.get("size", 0), settings.get("crop_size", 0)
    short = said.get("shortest_edge", 0) if isinstance(said, dict) else 0
    whole = said.get("height", 0) if isinstance(said, dict) else int(said or 0)
    middle = (cut.get("height", 0) if isinstance(cut, dict) else int(cut or 0)) if settings.get("do_center_crop") else 0
    size = middle or whole or short or int(getattr(config, "image_size", 0) or 0) or 224
    mean, std = (tuple(settings.get(f"image_{name}") or usual) for name, usual in zip(("mean", "std"), _IMAGENET, strict=True))
    return Looks(size, (short or whole) if middle else 0, (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))


def _open(place: str, offline: bool) -> tuple[Any, Looks]:
    transformers = need("transformers", "text", "image.transformer")
    config = transformers.AutoConfig.from_pretrained(place, local_files_only=offline, trust_remote_code=False)
    cls = getattr(transformers, _TOWERS.get(config.model_type, "AutoModel"))
    model = cls.from_pretrained(place, local_files_only=offline, use_safetensors=True)
    found = transformers.utils.cached_file(
        place, "preprocessor_config.json", local_files_only=offline, _raise_exceptions_for_missing_entries=False
    )
    settings = json.loads(Path(found).read_text(encoding="utf-8")) if found else {}
    return model.float().eval(), looks_of(settings, model.config)
