"""Position sensitivity of encoders whose sensitivity is known."""

import numpy as np
import pytest
import torch

from dipole.core.errors import DataError
from dipole.evaluate.kinds.position import Position, PositionTask
from tests.evaluate.cases import bag, jsonl

WORDS = [f"w{i}" for i in range(400)]


def task(documents=40, length=60, seed=0, at=None):
    """Passages of words that only their own query shares, in documents of other words."""
    chance = np.random.default_rng(seed)
    made, queries, passages = [], [], []
    for i in range(documents):
        passage = [f"p{i}a", f"p{i}b", f"p{i}c"]
        rest = chance.choice(WORDS, length).tolist()
        place = int(chance.integers(0, length + 1)) if at is None else at
        made.append(" ".join([*rest[:place], *passage, *rest[place:]]))
        queries.append(" ".join(passage))
        passages.append(" ".join(passage))
    return PositionTask("p", made, queries, passages)


def weighted(decay):
    """A bag of words that weighs word i of a text of n words by ``decay(i / n)``."""

    def encode(texts):
        vectors = []
        for text in texts:
            words = text.split()
            weights = torch.tensor([decay(i / len(words)) for i in range(len(words))])
            vectors.append((bag(words) * weights[:, None]).sum(0))
        return torch.stack(vectors)

    return encode


def curve(found, name, slots=5):
    return np.array([found.metrics[f"{name}@{k + 1}"] for k in range(slots)])


def test_a_bag_of_words_does_not_care():
    found = Position()(task(), bag, samples=50)
    np.testing.assert_allclose(curve(found, "moved"), curve(found, "moved")[0], atol=1e-6)
    np.testing.assert_allclose(curve(found, "moved_mrr"), curve(found, "moved_mrr")[0], atol=1e-6)
    assert found.metrics["head_bias"] == pytest.approx(0, abs=1e-6)
    assert found.metrics["worst_case"] == pytest.approx(0, abs=1e-6)
    assert np.ptp(curve(found, "profile")) < 0.1


def test_a_window_at_the_start_sees_the_first_slot_only():
    found = Position()(task(length=30), bag, weighted(lambda x: float(x < 0.2)), samples=50)
    moved = curve(found, "moved_mrr")
    assert moved[0] > 0.95
    assert (moved[1:] < 0.35).all()
    assert found.metrics["mrr_head_bias"] > 1
    assert found.metrics["mrr_worst_case"] > 0.7
    np.testing.assert_allclose(curve(found, "moved")[2:], curve(found, "moved")[1], atol=0.05)


def test_weights_that_decay_make_curves_that_fall_and_reversing_them_turns_the_curves():
    head = Position()(task(), weighted(lambda x: float(np.exp(-3 * x))), samples=200)
    tail = Position()(task(), weighted(lambda x: float(np.exp(-3 * (1 - x)))), samples=200)
    for name in ("profile", "moved"):
        assert (np.diff(curve(head, name)) < 0).all()
        assert (np.diff(curve(tail, name)) > 0).all()
        np.testing.assert_allclose(curve(head, name), curve(tail, name)[::-1], atol=0.08)
    low, high = head.intervals["head_bias"]
    assert 0 < low < head.metrics["head_bias"] < high
    assert tail.intervals["head_bias"][1] < 0


def test_profile_against_loops():
    documents = [" ".join(np.random.default_rng(i).choice(WORDS, 11)) for i in range(4)]
    found = Position(slots=3)(PositionTask("p", documents), bag, samples=20)
    assert set(found.metrics) == {"head_bias", "worst_case", "profile@1", "profile@2", "profile@3"}
    for k, (a, b) in enumerate([(0, 4), (4, 7), (7, 11)]):
        cosine = [float(torch.nn.functional.cosine_similarity(bag([d]), bag([" ".join(d.split()[a:b])]))) for d in documents]
        np.testing.assert_allclose(found.per_item[f"profile@{k + 1}"], cosine, atol=1e-6)
    values = curve(found, "profile", 3)
    assert found.metrics["head_bias"] == pytest.approx((values[0] - values.mean()) / values.mean())
    assert found.metrics["worst_case"] == pytest.approx(1 - values.min() / values.max())


def test_natural_positions_are_grouped():
    sets = [task(10, length=30, seed=i, at=at) for i, at in enumerate((0, 30))]
    both = PositionTask("p", *([x for s in sets for x in getattr(s, name)] for name in ("documents", "queries", "passages")))
    found = Position()(both, bag, weighted(lambda x: float(x < 0.2)), samples=50)
    assert sorted(set(found.per_item["natural_slot"])) == [1, 5]
    assert found.metrics["natural_mrr@1"] > 0.9 > 0.5 > found.metrics["natural_mrr@5"]
    assert "natural_mrr@3" not in found.metrics


def test_files(tmp_path):
    jsonl(tmp_path / "d.jsonl", [{"document": "a b c d e"}])
    assert Position().read(str(tmp_path / "d.jsonl")).documents == ["a b c d e"]
    jsonl(tmp_path / "d.jsonl", [{"query": "q", "document": "a b c d e"}])
    with pytest.raises(DataError, match="no column holds the passage"):
        Position().read(str(tmp_path / "d.jsonl"))
    with pytest.raises(DataError, match=r"at least 5 words, one a segment; document 0 has 2"):
        Position()(PositionTask("short", ["a b"]), bag)
