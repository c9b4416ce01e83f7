"""Alignment and uniformity of dense features: one vector a place of an image, pairs of places instead of pairs of images.

Which place of one view belongs to which place of another is given (``places_of_crops``: where the two crops overlap) or taken from the
features (``nearest_places``). Maps are (B, H, W, d); places are counted row by row.
"""

from __future__ import annotations

import torch

from dipole.core.errors import DataError
from dipole.diagnostics.estimate import Estimate
from dipole.diagnostics.geometry import alignment, uniformity
from dipole.diagnostics.vectors import unit
from dipole.pairwise import topk_search


@torch.no_grad()
def dense_alignment(first: torch.Tensor, second: torch.Tensor, matches: torch.Tensor, power: float = 2.0) -> float:
    """How far the features of matched places lie apart.

        A_d = mean over matched (u, m(u)) of |F1_u - F2_m(u)|^a        on unit vectors

    Range: 0 to 2^a; with a = 2, 2 where places have nothing in common.
    Healthy: low for places that show the same thing, beside a low ``dense_uniformity``; matches of the features' own choice make it
      lower than those by place, whatever the features are.
    Source: alignment of arXiv:2005.10242, eq. 2, over places, after "Correlation between Alignment-Uniformity and Performance of Dense
      Contrastive Representations"; that paper's own summary in one number is not confirmed.
    Cost: O(B H W d).
    Shapes: first, second (B, H, W, d); matches (B, H W) int64, the place of the second view, -1 where it does not show the place.
    Errors: DataError, also where nothing is matched.

    >>> maps = torch.eye(4).view(1, 2, 2, 4)
    >>> dense_alignment(maps, maps, torch.arange(4)[None]), dense_alignment(maps, maps.flip(2), torch.tensor([[1, 0, 3, 2]]))
    (0.0, 0.0)
    """
    a, b = _flat("dense_alignment", first), _flat("dense_alignment", second)
    if matches.shape != a.shape[:2] or len(b) != len(a) or b.shape[2] != a.shape[2]:
        raise DataError("dense_alignment: matches must be one place for each place", value=(tuple(first.shape), tuple(matches.shape)))
    if int(matches.max()) >= b.shape[1]:
        raise DataError(f"dense_alignment: places of the second view are below {b.shape[1]}", value=int(matches.max()))
    there = matches >= 0
    if not bool(there.any()):
        raise DataError("dense_alignment: no place is matched", value=tuple(matches.shape))
    image = torch.arange(len(a), device=matches.device)[:, None].expand_as(matches)
    return alignment(a[there], b[image[there], matches[there]], power)


@torch.no_grad()
def dense_uniformity(maps: torch.Tensor, t: float = 2.0, rows: int | None = None, seed: int = 0) -> Estimate:
    """How evenly the features of all places of all images fill the sphere.

        U_d = log mean over distinct places u, v of exp(-t |F_u - F_v|^2)        on unit vectors

    Range: 0 (all places alike) down to about -2t, as ``uniformity``, whose value it is for maps of one place.
    Healthy: nearer to -2t than to 0, but no lower than images have different things to show: background looks alike.
    Source: uniformity of arXiv:2005.10242, eq. 3, over places of all images together.
    Cost: O(n^2 d) for n = B H W places; ``rows=n`` takes n of them against all.
    Shapes: maps (B, H, W, d).
    Errors: DataError.

    >>> round(dense_uniformity(torch.eye(4).view(1, 2, 2, 4)), 6)
    -4.0
    """
    return uniformity(_flat("dense_uniformity", maps).flatten(0, 1), t, rows, seed)


@torch.no_grad()
def nearest_places(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """(B, H W) int64: for each place of the first view the place of the second with the highest cosine. Maps (B, H, W, d).

    >>> maps = torch.eye(4).view(1, 2, 2, 4)
    >>> nearest_places(maps, maps.flip(2)).tolist()
    [[1, 0, 3, 2]]
    """
    a, b = _flat("nearest_places", first), _flat("nearest_places", second)
    return torch.stack([topk_search(unit("nearest_places", x), unit("nearest_places", y), 1).ids[:, 0] for x, y in zip(a, b, strict=True)])


def places_of_crops(first: torch.Tensor, second: torch.Tensor, flipped: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(B, H W) int64: for each place of the first crop the place of the second that shows the same point, -1 where none does.

    ``first``, ``second`` (B, 4): left, top, right and bottom of the crops in the image. ``flipped`` (B,) bool: left and right are exchanged
    in the second. A place stands for its middle. Raises DataError for crops without an area.

    >>> crop = torch.tensor([[0.0, 0, 1, 1]])
    >>> places_of_crops(crop, crop, torch.tensor([True]), 2, 2).tolist()
    [[1, 0, 3, 2]]
    """
    for crop in (first, second):
        if crop.shape != (len(first), 4) or not bool((crop[:, 2:] > crop[:, :2]).all()):
            raise DataError("places_of_crops: crops are left, top, right and bottom, with an area", value=crop.tolist()[:1])
    down, right = ((torch.arange(n, device=first.device) + 0.5) / n for n in (height, width))
    across = first[:, None, 0] + right * (first[:, None, 2] - first[:, None, 0])  # (B, W)
    along = first[:, None, 1] + down * (first[:, None, 3] - first[:, None, 1])  # (B, H)
    across = (across - second[:, None, 0]) / (second[:, None, 2] - second[:, None, 0])
    along = (along - second[:, None, 1]) / (second[:, None, 3] - second[:, None, 1])
    across = torch.where(flipped[:, None], 1 - across, across)
    col, row = (across * width).floor().long(), (along * height).floor().long()
    inside = ((col >= 0) & (col < width))[:, None, :] & ((row >= 0) & (row < height))[:, :, None]
    found: torch.Tensor = torch.where(inside, row[:, :, None] * width + col[:, None, :], -1).flatten(1)
    return found


def _flat(name: str, maps: torch.Tensor) -> torch.Tensor:
    """(B, H W, d) of maps (B, H, W, d)."""
    if maps.dim() != 4 or not maps.numel():
        raise DataError(f"{name}: maps must be (B, H, W, d), at least one place", value=tuple(maps.shape))
    return maps.flatten(1, 2)
