"""A transformer that takes images for regions of larger ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dipole.core.errors import ParameterError
from dipole.modality.image.encoders.region_vit import RegionViT, boxes, cropped
from dipole.modality.load import open_encoder


def test_a_crop_of_positions_is_a_region_of_them() -> None:
    table = torch.arange(16.0).reshape(4, 4, 1) % 4  # rises from left to right
    whole = cropped(table, torch.tensor([[0.0, 0.0, 1.0, 1.0]]))
    up = torch.nn.functional.interpolate(table.permute(2, 0, 1)[None], (64, 64), mode="bilinear", align_corners=False)
    middles = [8, 24, 40, 56]  # the middle of a cell lies between two of 64 positions
    wanted = torch.stack([(up[..., m - 1] + up[..., m]) / 2 for m in middles], -1)[0, 0, 8]
    torch.testing.assert_close(whole.reshape(4, 4), wanted.expand(4, 4))
    left, right = cropped(table, torch.tensor([[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 0.5, 1.0]])).reshape(2, 4, 4)
    assert bool((left < 1.5).all()) and bool((right > 1.5).all()) and bool((left.diff() >= 0).all())
    torch.testing.assert_close(cropped(torch.full((4, 4, 2), 7.0), boxes(5, 0.1)), torch.full((5, 16, 2), 7.0))  # a constant stays one


def test_boxes_have_the_areas_and_sides_that_were_asked_for() -> None:
    torch.manual_seed(0)
    left, top, width, height = boxes(4000, 0.1).T
    assert bool((left >= 0).all() & (top >= 0).all() & (left + width <= 1 + 1e-6).all() & (top + height <= 1 + 1e-6).all())
    free = (width < 1) & (height < 1)
    assert 0.0999 < float((width * height).min()) and float((width * height).max()) > 0.9
    assert bool((width / height)[free].log2().abs().le(1 + 1e-5).all())


def test_training_images_are_regions_and_others_are_whole() -> None:
    torch.manual_seed(0)
    vit = RegionViT(dimension=6, size=8, channels=1, patch=2, width=8, depth=1, heads=2)
    torch.nn.init.normal_(vit.positions)
    same = vit.prepare([torch.ones(1, 8, 8)] * 3)
    seen = vit(same)
    assert not torch.allclose(seen.pooled[0], seen.pooled[1])  # each its own box
    seen.pooled[:, 0].sum().backward()
    assert vit.positions.grad is not None and bool((vit.positions.grad.abs().sum(2) > 0).all())
    vit.eval()
    still = vit(same)
    torch.testing.assert_close(still.pooled[0], still.pooled[1])
    assert still.tokens is not None
    torch.testing.assert_close(still.pooled, torch.nn.functional.normalize(still.tokens.mean(1), dim=1))
    with pytest.raises(ParameterError, match=r"image\.region_vit: heads"):
        RegionViT(width=8, heads=3)


def test_a_region_vit_is_saved_and_loaded(tmp_path: Path) -> None:
    vit = RegionViT(dimension=6, size=8, channels=1, patch=2, width=8, depth=1, heads=2)
    again = open_encoder(vit.save(tmp_path))
    assert again.identity == vit.identity
    assert torch.equal(again.encode([torch.ones(1, 8, 8)]), vit.encode([torch.ones(1, 8, 8)]))
