"""The toy language and its bag of words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dipole.core.errors import CheckpointError, DataError
from dipole.modality.toy.encoders.bag import Bag
from dipole.modality.toy.rows.graded import Graded
from dipole.modality.toy.rows.scenes import COLORS, SHAPES, Scenes
from dipole.modality.toy.rows.sentences import SLOTS, Sentences

SOURCE = Path(__file__).parents[2] / "src"


def meaning_of(text: str) -> tuple[int, ...]:
    words = text.split()
    found = []
    for slot in SLOTS:
        (value,) = (i for i, names in enumerate(slot) if set(names) & set(words))
        found.append(value)
    return tuple(found)


def test_paraphrases_mean_the_same_in_other_words() -> None:
    rows = list(Sentences(count=300))
    for row in rows:
        assert meaning_of(row["anchor"]) == meaning_of(row["positive"]) == row["meaning"]
        content = set(row["anchor"].split()) - {"the", "in"}
        assert not content & set(row["positive"].split())
        assert sum(a != b for a, b in zip(meaning_of(row["negative"]), row["meaning"], strict=True)) == 1
    assert len({row["label"] for row in rows}) == 300


def test_a_seed_gives_the_same_rows_everywhere() -> None:
    code = "from dipole.modality.toy.rows.sentences import Sentences; print(Sentences(count=20, seed=5).fingerprint)"
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(SOURCE), "PYTHONHASHSEED": "9"}
    )
    assert other.stdout.strip() == Sentences(count=20, seed=5).fingerprint
    assert Sentences(count=20, seed=6).fingerprint != Sentences(count=20, seed=5).fingerprint
    assert Sentences(count=1400)[1296]["label"] == Sentences(count=1400)[0]["label"]


def test_bag_against_its_formula() -> None:
    bag = Bag(dimension=8).eval()
    inputs = bag.prepare(["the dog", "Dog", ""])
    encoded = bag(inputs)
    the, dog = (bag.embedding.weight[i] for i in inputs["words"][0])
    torch.testing.assert_close(encoded.pre_norm[0], bag.linear.weight @ ((the + dog) / 2))
    torch.testing.assert_close(encoded.pooled[1], torch.nn.functional.normalize(bag.linear.weight @ dog, dim=0))
    assert encoded.pooled[2].abs().sum() == 0
    torch.testing.assert_close(bag.encode(["the dog", "Dog", ""], batch_size=1), encoded.pooled.detach())


def test_bag_has_dropout_and_learns() -> None:
    bag = Bag()
    inputs = bag.prepare(["the dog sees the ball"])
    assert not torch.equal(bag(inputs).pooled, bag(inputs).pooled)
    bag(inputs).pooled.sum().backward()
    assert bag.embedding.weight.grad.abs().sum() > 0


def test_bag_is_saved_and_loaded(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    bag = Bag(dimension=8, dropout=0.3)
    again = Bag.load(bag.save(tmp_path / "bag"))
    assert again.identity == bag.identity
    assert again.dropout == 0.3
    assert Bag(dimension=8).identity != bag.identity
    with pytest.raises(CheckpointError, match=r"no toy\.bag"):
        Bag.load(tmp_path)
    with pytest.raises(DataError, match="must be a text"):
        bag.prepare([1])


def test_grades_count_the_slots_that_say_the_same() -> None:
    word = {w: (slot, value) for slot, values in enumerate(SLOTS) for value, words in enumerate(values) for w in words}
    rows = list(Graded(40, seed=3))
    for row in rows:
        meanings = [{word[w] for w in row[side].split() if w in word} for side in ("anchor", "positive")]
        assert row["score"] == len(meanings[0] & meanings[1])
    assert [row["score"] for row in rows[:5]] == [1.0, 2.0, 3.0, 4.0, 1.0]
    assert Graded(40, seed=3).fingerprint == Graded(40, seed=3).fingerprint != Graded(40, seed=4).fingerprint


def test_scenes_are_drawn_where_their_captions_say_and_their_negatives_are_wrong() -> None:
    rows = list(Scenes(60, objects=3, noise=0.0, seed=2))
    for row in rows:
        things = [tuple(thing.split()[1:]) for thing in row["positive"].split(" and ")]
        image = row["anchor"].float() / 255
        for (color, shape), cell in zip(things, row["cells"], strict=True):
            seen = image[:, cell // 4 * 4 : cell // 4 * 4 + 4, cell % 4 * 4 : cell % 4 * 4 + 4]
            ink = torch.tensor([[float(bit) for bit in line] for line in SHAPES[shape].split()])
            assert torch.equal(seen, torch.tensor(COLORS[color]).float()[:, None, None] * ink)
        swapped, recolored, reshaped = (set(wrong.split(" and ")) for wrong in row["negative"])
        told = set(row["positive"].split(" and "))
        assert sorted(row["negative"][0].split()) == sorted(row["positive"].split())  # the same words
        assert len(swapped - told) == 2 and len(recolored - told) == len(reshaped - told) == 1
    same = [
        (a["label"] == b["label"]) == (sorted(a["positive"].split(" and ")) == sorted(b["positive"].split(" and ")))
        for a in rows
        for b in rows
    ]
    assert all(same)
    assert Scenes(40, seed=3).fingerprint == Scenes(40, seed=3).fingerprint != Scenes(40, seed=4).fingerprint


def test_runs_of_words_tell_who_has_which_colour() -> None:
    texts = ["a red square and a blue ring", "a blue square and a red ring"]
    plain, runs = Bag(dropout=0.0), Bag(dropout=0.0, ngrams=2)
    torch.testing.assert_close(*(plain.encode([text])[0] for text in texts))
    first, second = (runs.encode([text])[0] for text in texts)
    assert float(first @ second) < 0.99
    words = runs.prepare(["a red square"])["words"][0]
    assert len(words) == 5 and torch.equal(words[:3], plain.prepare(["a red square"])["words"][0])
