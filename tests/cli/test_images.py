"""The commands on images: a folder with captions becomes a model, vectors and figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from dipole.cli.main import main
from dipole.modality.image.rows.digits import Digits
from dipole.modality.load import open_encoder
from dipole.modality.vectors import read_vectors

SMALL = [
    'encoder.image={ use = "image.conv", size = 8, channels = 1, width = 8, depth = 2 }',
    "encoder.text=toy.bag",
    "encoder.locked=none",
    "rows.grey=true",
    "step.batch_size=32",
    "step.max_steps=40",
    "step.learning_rate=1e-2",
]


def pictures(folder: Path, part: str, count: int) -> Path:
    """Digits as PNG files and a table of captions."""
    folder.mkdir()
    lines = []
    for number, row in enumerate(Digits(part=part, count=count)):
        Image.fromarray(row["anchor"][0].numpy()).save(folder / f"{number}.png")
        lines.append(json.dumps({"anchor": str(folder / f"{number}.png"), "positive": row["positive"]}))
    (folder / "captions.jsonl").write_text("\n".join(lines))
    return folder / "captions.jsonl"


def test_train_encode_and_evaluate_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    sets = [word for change in SMALL for word in ("--set", change)]
    assert (
        main(
            ["train", "clip-pairs", "--variant", "images", "--data", str(pictures(tmp_path / "a", "train", 200)), "--out", str(run), *sets]
        )
        == 0
    )
    held = pictures(tmp_path / "b", "test", 40)
    assert main(["evaluate", str(run), "--task", f"held=retrieval:{held}", "--json", str(tmp_path / "figures.json"), "--quiet"]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())["held"]
    assert figures["recall@10"] > 0.4  # about 0.25 by chance: 40 captions
    held.unlink()
    assert main(["encode", str(run), "--data", str(tmp_path / "b"), "--out", str(tmp_path / "vectors")]) == 0
    vectors, ids = read_vectors(tmp_path / "vectors")
    assert vectors.shape == (40, 128) and ids == list(range(40))
    first = sorted(str(p) for p in (tmp_path / "b").glob("*.png"))[0]
    assert (vectors[0] - open_encoder(run).encode([first], side="image")[0]).abs().max() < 1e-6
    capsys.readouterr()
    assert (
        main(
            ["encode", str(run), "--data", str(tmp_path / "a" / "captions.jsonl"), "--out", str(tmp_path / "texts"), "--column", "positive"]
        )
        == 0
    )
    assert read_vectors(tmp_path / "texts")[0].shape == (200, 128)
