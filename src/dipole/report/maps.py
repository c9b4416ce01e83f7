"""Vectors as points on a page: principal components, or UMAP where the extra ``map`` is installed."""

from __future__ import annotations

import torch

from dipole.core.errors import UnknownNameError
from dipole.core.extras import need

MAPS = ("pca", "umap")


def flat(x: torch.Tensor, how: str = "pca", seed: int = 0) -> tuple[torch.Tensor, str]:
    """(N, 2) float64 and what the axes are.

    Shapes: x (N, d), N at least 2. Raises UnknownNameError for another map, MissingExtraError where umap is not installed.
    """
    if how not in MAPS:
        raise UnknownNameError("map", how, MAPS)
    if how == "umap" and len(x) > 10:
        return _umap(x, seed), "UMAP, cosine, 15 neighbours; distances between far groups mean little"
    centred = x.double() - x.double().mean(0)
    _, values, axes = torch.linalg.svd(centred, full_matrices=False)
    axes = axes[:2] * axes[:2].gather(1, axes[:2].abs().argmax(1, keepdim=True)).sign()  # the same picture every time
    points = centred @ axes.T
    if points.shape[1] < 2:
        points = torch.nn.functional.pad(points, (0, 2 - points.shape[1]))
    energy = values.square()
    share = energy[:2].sum() / energy.sum() if float(energy.sum()) > 0 else torch.tensor(0.0)
    return points, f"two principal components, {float(share):.0%} of the variance"


def _umap(x: torch.Tensor, seed: int) -> torch.Tensor:
    import warnings

    umap = need("umap", "map", "the map umap")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fixed seed costs threads, and it says so
        points = umap.UMAP(n_neighbors=min(15, len(x) - 1), metric="cosine", random_state=seed, n_jobs=1).fit_transform(x.float().numpy())
    return torch.from_numpy(points).double()
