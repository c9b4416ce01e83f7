"""A report on an encoder of images, from a folder of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("PIL")

from dipole.cli.main import main
from dipole.modality.image.encoders.conv import Conv


def test_images_of_two_classes(tmp_path: Path) -> None:
    from PIL import Image

    torch.manual_seed(0)
    for name, level in (("dark", 40), ("light", 200)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(15):
            noise = torch.randint(-40, 40, (8, 8, 3)) + level
            Image.fromarray(noise.clamp(0, 255).to(torch.uint8).numpy()).save(tmp_path / "photos" / name / f"{i}.png")
    Conv(dimension=8, size=8).save(tmp_path / "model")
    out = tmp_path / "found.json"
    page = tmp_path / "page.html"
    assert main(["diagnose", str(tmp_path / "model"), "--data", str(tmp_path / "photos"), "--json", str(out), "--html", str(page)]) == 0
    found = json.loads(out.read_text())
    assert found["counts"]["looked_at"] == 30 and found["alignment"] is None  # a class's name is no image
    assert found["classes"]["classes"] == 2 and found["classes"]["separability"] > 0.9
    assert "Tensor (3, 8, 8)" in page.read_text()
