"""Zero-shot classification against loops; two encoders; descriptions and templates from files."""

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from dipole.core.errors import DataError, ParameterError
from dipole.evaluate.kinds.zero_shot import ZeroShot, ZeroShotTask
from dipole.evaluate.labelled import Labelled
from tests.evaluate.cases import bag, jsonl


def test_figures_against_loops():
    chance = np.random.default_rng(0)
    images = chance.normal(size=(60, 8))
    truth = chance.integers(0, 3, 60)
    names = ["ape", "bee", "cat"]
    texts = {}

    def text_encoder(items):
        return torch.tensor(np.stack([texts.setdefault(t, np.random.default_rng(sum(map(ord, t))).normal(size=8)) for t in items]))

    described = {"ape": ["ape", "monkey"], "bee": ["bee"], "cat": ["cat", "kitten", "tom"]}
    task = ZeroShotTask("z", Labelled([image for image in images], [names[c] for c in truth]), described)
    found = ZeroShot(template="{} | a photo of {}.", k=2)(task, lambda items: np.stack(items), text_encoder, samples=100)
    classes = []
    for name in names:
        vectors = [text_encoder([t])[0].numpy() for d in described[name] for t in (d, f"a photo of {d}.")]
        mean = np.mean([v / np.linalg.norm(v) for v in vectors], axis=0)
        classes.append(mean / np.linalg.norm(mean))
    cosine = images / np.linalg.norm(images, axis=1, keepdims=True) @ np.array(classes).T
    said = cosine.argmax(axis=1)
    assert found.metrics["accuracy"] == pytest.approx((said == truth).mean())
    assert found.metrics["macro_f1"] == pytest.approx(f1_score(truth, said, average="macro"))
    assert found.metrics["accuracy@2"] == pytest.approx(np.mean([t in np.argsort(-row)[:2] for t, row in zip(truth, cosine, strict=True)]))
    assert found.per_item["predicted"] == [names[c] for c in said]
    assert found.counts["descriptions"] == 12
    assert found.per_item["item"][0] == "item 0"


def test_descriptions_come_from_a_file(tmp_path):
    jsonl(tmp_path / "test.jsonl", [{"text": "the cat sleeps", "label": "a"}, {"text": "hot soup", "label": "b"}])
    (tmp_path / "labels.csv").write_text("label,description\na,a cat\nb,soup\nb,hot bread\n")
    task = ZeroShot().read(str(tmp_path))
    assert task.descriptions == {"a": ["a cat"], "b": ["soup", "hot bread"]}
    assert ZeroShot()(task, bag, samples=10).metrics["accuracy"] == 1.0
    (tmp_path / "labels.csv").write_text("label,description\na,a cat\n")
    with pytest.raises(DataError, match=r"test\.jsonl:2, column 'label': labels\.csv has no description of this label \(got 'b'\)"):
        ZeroShot().read(str(tmp_path))
    (tmp_path / "labels.csv").unlink()
    assert ZeroShot().read(str(tmp_path)).descriptions == {"a": ["a"], "b": ["b"]}


def test_labels_are_read_as_words(tmp_path):
    jsonl(tmp_path / "test.jsonl", [{"text": "x", "label": "card_arrival"}, {"text": "y", "label": "lost_card"}])
    assert ZeroShot().read(str(tmp_path / "test.jsonl")).descriptions["card_arrival"] == ["card arrival"]


def test_a_template_needs_a_place():
    with pytest.raises(ParameterError, match=r"template must be texts that hold \{\}"):
        ZeroShot(template="{} | a photo")
    with pytest.raises(DataError, match=r"every label needs a description \(got 'c'\)"):
        ZeroShot()(ZeroShotTask("z", Labelled(["x"], ["c"]), {"a": ["a"], "b": ["b"]}), bag)
