"""One image as a tensor, whatever it came as: a tensor, a Pillow image, a file's path or its bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from dipole.core.errors import DataError
from dipole.core.extras import need


def pixels(item: Any, channels: int, place: str = "") -> torch.Tensor:
    """(channels, H, W) float32 in 0 .. 1. ``channels``: 1 (grey), 3 (RGB) or anything a tensor brings itself.

    Tensors (H, W) or (C, H, W): uint8 counts 0 .. 255, floats 0 .. 1. Files are turned as their EXIF says; transparent
    parts lie on white. ``place`` names the item in errors. Raises DataError for what is no image.
    """
    if isinstance(item, (str, Path, bytes)):
        item = opened(item)
    if not isinstance(item, torch.Tensor):
        item = _from_pillow(item, channels, place)
    image = item[None] if item.dim() == 2 else item
    if image.dim() != 3 or 0 in image.shape or not (image.dtype == torch.uint8 or image.is_floating_point()):
        raise DataError(f"{place or 'image'}: must be uint8 or floating point of shape (C, H, W)", value=(tuple(item.shape), item.dtype))
    image = image.float() / 255 if image.dtype == torch.uint8 else image.float()
    return _in_channels(image, channels, place)


def opened(file: str | Path | bytes) -> Any:
    """A Pillow image, read whole. Raises DataError with the file where it cannot be."""
    pillow = need("PIL.Image", "image", "reading image files")
    turn = need("PIL.ImageOps", "image", "reading image files").exif_transpose
    shown = None if isinstance(file, bytes) else file
    try:
        with pillow.open(io.BytesIO(file) if isinstance(file, bytes) else Path(file).expanduser()) as image:
            return turn(image)
    except FileNotFoundError:
        raise DataError("there is no such image file", path=shown) from None
    except (OSError, SyntaxError, ValueError, pillow.DecompressionBombError) as error:  # Pillow raises these for broken files
        raise DataError(f"no readable image: {error}", path=shown, remedy="remove it or convert it to PNG or JPEG") from None


def batch(items: Sequence[Any], channels: int, size: int, what: str) -> torch.Tensor:
    """(B, channels, size, size) float32 in 0 .. 1: every image squeezed to a square, with antialiasing."""
    images = [pixels(item, channels, f"{what}: item {place}") for place, item in enumerate(items)]
    if not images:
        return torch.zeros(0, channels, size, size)
    return torch.stack([resized(image, size) for image in images])


def resized(image: torch.Tensor, size: int) -> torch.Tensor:
    """(C, size, size). An image of that size already is left as it is."""
    if image.shape[1:] == (size, size):
        return image
    return functional.interpolate(image[None], (size, size), mode="bilinear", antialias=True, align_corners=False)[0]


def _from_pillow(item: Any, channels: int, place: str) -> torch.Tensor:
    pillow = need("PIL.Image", "image", "images that are no tensors")
    if not isinstance(item, pillow.Image):
        rule = f"{place or 'image'}: must be a tensor, a Pillow image, a file's path or its bytes"
        raise DataError(rule, value=item)
    if "A" in item.getbands() or "transparency" in item.info:
        white = pillow.new("RGBA", item.size, "white")
        item = pillow.alpha_composite(white, item.convert("RGBA"))
    numpy = need("numpy", "image", "images that are no tensors")
    return torch.from_numpy(numpy.array(item.convert("L" if channels == 1 else "RGB"))).view(item.height, item.width, -1).permute(2, 0, 1)


def _in_channels(image: torch.Tensor, channels: int, place: str) -> torch.Tensor:
    if len(image) == channels:
        return image
    if len(image) == 1:
        return image.expand(channels, -1, -1)
    if channels == 1 and len(image) == 3:
        return (image * image.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0, keepdim=True)  # ITU-R BT.601
    raise DataError(f"{place or 'image'}: must have {channels} channels", value=len(image))
