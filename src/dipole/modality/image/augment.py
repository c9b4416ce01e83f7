"""One random change of each image of a batch: crop, mirror, colour, blur. kornia does the work, torch's generator the chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from dipole.core.errors import DataError, ParameterError
from dipole.core.extras import need
from dipole.modality.image.pixels import pixels


class Strength(Protocol):
    """The parameters that the augmenting views have in common."""

    size: int
    crop: float
    mirror: bool
    color: float
    blur: float


def check(name: str, view: Strength) -> None:
    """Raise ParameterError where a parameter is out of bounds that its own rule cannot state."""
    if view.crop <= 0:
        raise ParameterError(name, "crop", "above 0", view.crop, "1.0 leaves the image whole")


def augmentation(view: Strength, channels: int) -> Any:
    """A module (B, C, H, W) -> (B, C, size, size), every image changed by itself, in the order of SimCLR (arXiv:2002.05709, appendix A)."""
    k = need("kornia.augmentation", "image", "augmented views")
    steps = [k.RandomResizedCrop((view.size, view.size), scale=(view.crop, 1.0), ratio=(3 / 4, 4 / 3))]
    if view.mirror:
        steps.append(k.RandomHorizontalFlip(p=0.5))
    if view.color:
        much = 0.8 * view.color
        if channels == 3:
            steps += [k.ColorJitter(much, much, much, 0.2 * view.color, p=0.8), k.RandomGrayscale(p=0.2)]
        else:
            steps += [k.RandomBrightness((1 - much, 1 + much), p=0.8), k.RandomContrast((1 - much, 1 + much), p=0.8)]
    if view.blur:
        side = max(3, int(0.1 * view.size) // 2 * 2 + 1)
        steps.append(k.RandomGaussianBlur((side, side), (0.1, 2.0), p=view.blur))
    return k.AugmentationSequential(*steps, data_keys=["input"])


@torch.no_grad()
def augmented(items: Sequence[Any], view: Strength, name: str) -> list[torch.Tensor]:
    """One changed copy of every image, (C, size, size) float32 in 0 .. 1. Images of one shape are changed together."""
    images = [_image(item, f"{name}: row {place} of the batch") for place, item in enumerate(items)]
    change = {channels: augmentation(view, channels) for channels in {len(image) for image in images}}
    if len({image.shape for image in images}) == 1:
        done = change[len(images[0])](torch.stack(images))
    else:
        done = [change[len(image)](image[None])[0] for image in images]
    return [image.clamp(0, 1) for image in done]


def _image(item: Any, place: str) -> torch.Tensor:
    image = pixels(item, len(item) if isinstance(item, torch.Tensor) and item.dim() == 3 else 3, place)
    if len(image) not in (1, 3):
        raise DataError(f"{place}: augmented images must have 1 or 3 channels", value=len(image))
    return image
