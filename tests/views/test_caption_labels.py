"""Captions to labels: which words count, how many, what gathering may do to them, and what is refused."""

import pytest
import torch

from dipole.core.errors import UsageError
from dipole.core.scores import Dot
from dipole.losses import ClassPrototypes
from dipole.train.check import check
from dipole.train.recipe import Recipe
from dipole.views.caption_labels import CaptionLabels, frequent_words
from tests.train.stand_in import Bag, Sentences

ROWS = [
    {"anchor": "w1 w2", "positive": "Bicycles and a BICYCLE, a dog"},
    {"anchor": "w3", "positive": "nothing known"},
    {"anchor": "w4", "positive": "the dog's bicycle"},
]


def test_words_of_the_caption_become_labels_once_each():
    part = CaptionLabels(vocabulary="dog bicycle cat")
    batch = part(ROWS)
    assert batch.items["queries"] == ["w1 w2", "w3", "w4"]
    pairs = part.pairs({"queries": torch.randn(3, 4)}, batch.meta, Dot())
    assert pairs.rows["label"].tolist() == [[0, 1], [-1, -1], [0, 1]]
    assert pairs.positives_per_row().tolist() == [1, 0, 1]  # the same words named
    values = ClassPrototypes(classes=3, dim=4)(pairs)
    assert values.shape == (3,)


def test_frequency_decides_the_vocabulary(tmp_path):
    captions = [row["positive"] for row in ROWS]
    assert frequent_words(captions, 3) == ["a", "bicycle", "dog"]
    file = tmp_path / "words.txt"
    file.write_text("\n".join(frequent_words(captions, 2)))
    assert CaptionLabels(vocabulary=str(file))(ROWS).meta["queries.words"].tolist() == [[1, 2], [0, 0], [2, 0]]


def test_two_processes_whose_captions_differ_in_length_are_one():
    rows = Sentences(24)
    for i, row in enumerate(rows.rows):
        row["caption"] = "dog bicycle cat" if i < 13 else "cat"
    part = CaptionLabels(vocabulary="dog bicycle cat", caption="caption")
    losses = (ClassPrototypes(classes=3, dim=8),)
    found = check(Recipe((rows,), part, Bag(dropout=0.0), losses), only=["ranks = one", "cached = plain"])
    assert found.passed, found


@pytest.mark.parametrize(
    ("vocabulary", "said"),
    [("dog cat dog", "'dog' comes twice"), ("", "got none"), ("nowhere/words.txt", "there is no such vocabulary")],
)
def test_what_is_refused(vocabulary, said):
    with pytest.raises(UsageError, match=said):
        CaptionLabels(vocabulary=vocabulary)
