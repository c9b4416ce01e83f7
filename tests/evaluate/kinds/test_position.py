"""Position sensitivity of encoders whose sensitivity is known."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from dipole import Pairs
from dipole.core.errors import DataError
from dipole.evaluate.kinds.position import Position, PositionTask
from dipole.losses import InfoNCE
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


class Reader(nn.Module):
    """A transformer of one layer over documents of 25 words with numbers, each place with a vector of its own."""

    def __init__(self):
        super().__init__()
        self.words, self.places, self.top = nn.Embedding(300, 32), nn.Embedding(25, 32), nn.Linear(32, 32)
        self.block = nn.TransformerEncoderLayer(32, 2, 64, dropout=0.0, batch_first=True)

    def forward(self, words):
        return normalize(self.top(self.block(self.words(words) + self.places.weight[: words.shape[1]]).mean(1)), dim=1)

    @torch.no_grad()
    def encode(self, texts):
        return torch.cat([self(torch.tensor([[int(word) for word in text.split()]])) for text in texts])


def asked(count, first, chance):
    """(count, 25) documents of words by chance, and (count, 3) questions: three words in a row that begin before place ``first``."""
    documents = torch.randint(300, (count, 25), generator=chance)
    at = torch.randint(first, (count, 1), generator=chance)
    return documents, documents.gather(1, at + torch.arange(3))


def trained(seed, first):
    """The position task of held-out documents asked about anywhere, after training on questions that begin before ``first``."""
    torch.manual_seed(seed)
    chance, reader = torch.Generator().manual_seed(seed), Reader()
    step = torch.optim.Adam(reader.parameters(), lr=3e-3)
    for _ in range(200):
        documents, questions = asked(64, first, chance)
        step.zero_grad()
        InfoNCE(temperature=0.05)(Pairs.aligned(reader(questions), reader(documents))).mean().backward()
        step.step()
    texts = [[" ".join(map(str, row)) for row in rows.tolist()] for rows in asked(200, 23, chance)]
    return Position()(PositionTask("p", *texts, texts[1]), reader.eval().encode, samples=50)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_questions_about_beginnings_teach_an_encoder_to_look_there_only(seed):
    """arXiv:2404.04163: evidence that sits early in training makes the bias; the same encoder asked about all places has none."""
    early, anywhere = trained(seed, 3), trained(seed, 23)
    assert early.metrics["mrr_head_bias"] > 1.5 and early.intervals["head_bias"][0] > 1.0
    assert (curve(early, "moved_mrr")[1:] < 0.3 * curve(early, "moved_mrr")[0]).all()
    assert abs(anywhere.metrics["mrr_head_bias"]) < 0.3 and abs(anywhere.metrics["head_bias"]) < 0.1
    assert curve(anywhere, "moved_mrr")[-1] > 1.3 * curve(early, "moved_mrr")[-1]


def test_files(tmp_path):
    jsonl(tmp_path / "d.jsonl", [{"document": "a b c d e"}])
    assert Position().read(str(tmp_path / "d.jsonl")).documents == ["a b c d e"]
    jsonl(tmp_path / "d.jsonl", [{"query": "q", "document": "a b c d e"}])
    with pytest.raises(DataError, match="no column holds the passage"):
        Position().read(str(tmp_path / "d.jsonl"))
    with pytest.raises(DataError, match=r"at least 5 words, one a segment; document 0 has 2"):
        Position()(PositionTask("short", ["a b"]), bag)
