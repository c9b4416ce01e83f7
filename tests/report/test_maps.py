"""Maps: principal components as numpy has them, and UMAP called as it should be, without waiting for its compiler."""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pytest
import torch

from dipole.core.errors import MissingExtraError, UnknownNameError
from dipole.report.maps import flat
from tests.report.conftest import spread


def test_principal_components_are_numpys_up_to_sign() -> None:
    x = spread(40, 6) * torch.tensor([5.0, 3, 1, 1, 1, 1])
    points, axes = flat(x)
    u, s, _ = np.linalg.svd(x.numpy() - x.numpy().mean(0), full_matrices=False)
    assert np.allclose(np.abs(points.numpy()), np.abs(u[:, :2] * s[:2]), atol=1e-4)
    assert f"{(s[:2] ** 2).sum() / (s**2).sum():.0%}" in axes
    again, _ = flat(x.flip(0))
    assert torch.allclose(again.flip(0), points, atol=1e-4)  # signs do not depend on the order


def test_vectors_of_one_number_or_all_alike_have_a_map() -> None:
    assert flat(spread(5, 1))[0].shape == (5, 2)
    points, axes = flat(torch.ones(5, 3))
    assert points.abs().max() < 1e-6 and "0%" in axes


def test_umap_sees_cosine_a_seed_and_no_more_neighbours_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    class UMAP:
        def __init__(self, **given: Any) -> None:
            asked.append(given)

        def fit_transform(self, x: np.ndarray) -> np.ndarray:
            return x[:, :2]

    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=UMAP))
    points, axes = flat(spread(12, 6), "umap", seed=7)
    assert points.shape == (12, 2) and "UMAP" in axes
    assert asked[0]["metric"] == "cosine" and asked[0]["random_state"] == 7 and asked[0]["n_neighbors"] == 11
    assert "components" in flat(spread(8, 6), "umap")[1]  # too few for neighbours
    assert len(asked) == 1


def test_what_is_not_there_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError, match="unknown map 'tsne'"):
        flat(spread(5, 3), "tsne")
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises((MissingExtraError, ModuleNotFoundError)):
        flat(spread(20, 3), "umap")
