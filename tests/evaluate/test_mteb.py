"""The bridge to MTEB, against a stand-in for the small part of mteb's interface it uses.

The stand-in hands over what mteb 2.26.24 does: batches of {"text": [...]}, a prompt type for retrieval, a result of scores by split.
mteb itself is no dependency of the tests; the bridge was run by hand against mteb 2.26.24, see docs/evaluate.md.
"""

from __future__ import annotations

import sys
from enum import Enum
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from dipole.core.errors import DipoleError, MissingExtraError, UsageError
from dipole.evaluate.mteb import MTEBEncoder, MTEBTasks
from dipole.evaluate.report import table
from dipole.evaluate.run import evaluate_encoder, read_tasks
from tests.evaluate.cases import bag


class PromptType(Enum):
    query = "query"
    document = "document"


class Task:
    metadata = SimpleNamespace(name="Toy", main_score="cosine_accuracy")


def evaluate(model: Any, tasks: Any, *, cache: Any, encode_kwargs: Any, show_progress_bar: bool, co2_tracker: bool) -> Any:
    """Asks like a retrieval task: queries, documents, all similarities; then pairs without a prompt type."""
    assert cache is None and encode_kwargs == {"batch_size": 7}
    meta = model.mteb_model_meta
    assert meta["name"].count("/") == 1
    common = {"task_metadata": tasks[0].metadata, "hf_split": "test", "hf_subset": "default", "batch_size": 7}
    queries = model.encode([{"text": ["the cat"]}, {"text": ["hot soup"]}], prompt_type=PromptType.query, **common)
    corpus = [{"text": ["fresh bread", "a cat sleeps"]}, {"text": ["cold soup"]}]
    documents = model.encode(corpus, prompt_type=PromptType.document, **common)
    assert queries.dtype == np.float32 and queries.shape[0] == 2
    found = model.similarity(queries, documents)
    assert found.shape == (2, 3)
    accuracy = float((found.argmax(dim=1) == torch.tensor([1, 2])).float().mean())
    pairs = model.encode([{"text": ["a", "b"]}], prompt_type=None, **common)
    assert model.similarity_pairwise(pairs, pairs).tolist() == pytest.approx([1.0, 1.0])
    scores = [
        {"main_score": accuracy, "cosine_accuracy": accuracy, "hf_subset": "one", "languages": ["eng-Latn"]},
        {"main_score": 0.5, "cosine_accuracy": 0.5, "hf_subset": "two", "languages": ["eng-Latn"], "extra": 1.0},
    ]
    return SimpleNamespace(task_results=[SimpleNamespace(scores={"test": scores})])


def get_task(name: str) -> Task:
    if name != "Toy":
        raise KeyError(f"KeyError: '{name}' not found. Did you mean: 'Toy'?")
    return Task()


@pytest.fixture
def mteb(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module, models = ModuleType("mteb"), ModuleType("mteb.models")
    module.__version__ = "2.0.stand-in"  # type: ignore[attr-defined]
    module.get_task, module.evaluate, module.models = get_task, evaluate, models  # type: ignore[attr-defined]
    models.ModelMeta = SimpleNamespace(create_empty=lambda overwrites: overwrites)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mteb", module)
    monkeypatch.setitem(sys.modules, "mteb.models", models)
    return module


class Encoder:
    """What the command hands over: an encoder with an identity, sides, and a count of cut texts."""

    identity, model = "f" * 64, "some/model"

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.truncated = self

    seen = max_tokens = 0

    def __int__(self) -> int:
        return 0

    def reset(self) -> None:
        pass

    def encode(self, items: list[str], batch_size: int, progress: bool, side: str) -> torch.Tensor:
        self.asked.append((side, len(items)))
        return bag(items)


def test_a_task_runs_from_its_name_to_the_table(mteb: ModuleType) -> None:
    encoder = Encoder()
    found = evaluate_encoder(encoder, read_tasks(["mteb:Toy"]), batch_size=7)["mteb:Toy"]
    assert encoder.asked == [("queries", 2), ("keys", 3), ("", 2)]
    assert found["main_score"] == found["cosine_accuracy"] == 0.75
    assert found["primary_metric"] == "main_score"
    assert "here cosine_accuracy" in found["definition"]["main_score"]
    assert "mteb 2.0.stand-in" in found["definition"]["cosine_accuracy"]
    assert (found["interval"], found["counts"]["subsets"]) == ({}, 2)
    assert "no intervals" in found["notes"][0]
    assert "extra" not in found  # one subset only
    assert table({"mteb:Toy": found}).row_count == 2


def test_what_is_missing_is_said(mteb: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"mteb has no task 'Tou'.*Did you mean: 'Toy'"):
        MTEBTasks().read("Tou")
    with pytest.raises(UsageError, match=r"inputs other than text \(image\)"):
        MTEBEncoder(lambda side: bag, "m").encode([{"image": [1]}])

    def offline(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("Couldn't reach the hub")

    mteb.evaluate = offline  # type: ignore[attr-defined]
    with pytest.raises(DipoleError, match="mteb could not run Toy: Couldn't reach the hub"):
        MTEBTasks()(Task(), lambda side: bag, "m", "")
    del mteb.evaluate  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match=r"needs mteb 2\.0 or newer, got 2\.0\.stand-in"):
        MTEBTasks().read("Toy")
    monkeypatch.setitem(sys.modules, "mteb", None)
    with pytest.raises(MissingExtraError, match=r'pip install "dipole\[mteb\]"'):
        MTEBTasks().read("Toy")
