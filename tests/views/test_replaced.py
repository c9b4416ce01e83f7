"""Pairs of which some are told apart: which texts stand in, who is positive, who is left out."""

from __future__ import annotations

import random

import pytest
import torch

from dipole.core.errors import DataError
from dipole.core.scores import Dot
from dipole.losses import ETS, SigLIP
from dipole.modality.toy.encoders.bag import Bag
from dipole.modality.toy.rows.sentences import Sentences
from dipole.regularizers import Fusion
from dipole.train.check import check
from dipole.train.recipe import Recipe
from dipole.views.masked_words import MaskedWords
from dipole.views.replaced import Replaced, far


def reports(count: int, seed: int) -> tuple[list[str], list[int]]:
    """Three in ten say in one of many ways that all is normal; the others each name what is wrong. The kind of each: 0 is normal."""
    chance = random.Random(seed)
    texts, kinds = [], []
    for place in range(count):
        normal = chance.random() < 0.3
        words = ["sinus", "rhythm", "normal", "ecg"] if normal else [f"finding{place}a", f"finding{place}b", "sinus", "abnormal"]
        chance.shuffle(words)
        texts.append(" ".join([*words[: chance.randrange(3, 5)], f"number{place}"]))
        kinds.append(0 if normal else place + 1)
    return texts, kinds


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_far_texts_do_not_say_what_they_replace(seed: int) -> None:
    """C-MELT's reason for far texts: of normal reports, a text by chance is normal too in a third of the cases."""
    texts, kinds = reports(200, seed)
    normal = [place for place, kind in enumerate(kinds) if kind == 0]
    torch.manual_seed(seed)
    wrong = {count: [kinds[other] == 0 for other in far(texts, normal, count)] for count in (64, 10000)}
    assert sum(wrong[64]) == 0
    assert sum(wrong[10000]) > 0.15 * len(normal)


def test_the_nearest_of_far_texts_is_the_farthest() -> None:
    texts = ["a b c", "a b d", "a e f", "x y z", "a b c"]
    assert {far(texts, [0], 1)[0] for _ in range(10)} == {3}
    assert set(far(texts, [0] * 200, 2)) == {2, 3} and set(far(texts, [0] * 300, 9)) == {1, 2, 3}


def test_a_replaced_row_has_no_positive_and_its_text_elsewhere_is_no_negative() -> None:
    rows = [{"anchor": f"q{i}", "positive": text} for i, text in enumerate(["a a", "b b", "c c", "a a"])]
    torch.manual_seed(0)
    views = Replaced(share=0.5, farthest=2)
    batch = views(rows)
    kept = batch.meta["queries.kept"].bool()
    assert int((~kept).sum()) == 2
    for place, row in enumerate(rows):
        assert (batch.items["keys"][place] == row["positive"]) == bool(kept[place])
    vectors = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    sides = {"queries": vectors, "keys": vectors.flip(1)}
    pairs = views.pairs(sides, batch.meta, Dot())
    scores, keys = vectors @ vectors.flip(1).T, batch.items["keys"]
    for row, got in enumerate(ETS()(pairs)):
        counted = []
        for col in range(4):
            right = row == col and bool(kept[row])
            if right or keys[col] != rows[row]["positive"]:
                counted.append(torch.nn.functional.softplus(-scores[row, col] if right else scores[row, col]))
        torch.testing.assert_close(got, torch.stack(counted).mean())


def test_shares_are_right_on_average_and_none_is_none() -> None:
    rows = [{"anchor": f"q{i}", "positive": f"text {i}"} for i in range(5)]
    torch.manual_seed(0)
    counts = [5 - int(Replaced(share=0.3)(rows).meta["queries.kept"].sum()) for _ in range(400)]
    assert set(counts) == {1, 2} and 1.4 < sum(counts) / 400 < 1.6
    none = [Replaced(share=0.0)(rows) for _ in range(20)]
    assert all(batch.items["keys"] == [row["positive"] for row in rows] for batch in none)


def test_what_cannot_be_replaced_is_refused() -> None:
    with pytest.raises(DataError, match="replaced: the positive of row 1"):
        Replaced()([{"anchor": 1, "positive": "a"}, {"anchor": 2, "positive": 7}])
    with pytest.raises(DataError, match="all texts of the batch are equal"):
        Replaced(share=1.0)([{"anchor": i, "positive": "a"} for i in range(3)])


@pytest.mark.parametrize("views", [Replaced(share=0.4), MaskedWords(classes=20)], ids=["replaced", "masked_words"])
def test_two_processes_are_one(views) -> None:
    """Rows without a positive on either of two processes, and masked texts that differ in length."""
    losses = (SigLIP(temperature=1.0), *((Fusion(dimension=8, layers=1, heads=2, words=20),) if isinstance(views, MaskedWords) else ()))
    rows = [{**row, "positive": row["positive"] + " x" * (i % 3)} for i, row in enumerate(Sentences(24))]
    found = check(Recipe((Rows(rows),), views, Bag(dimension=8, dropout=0.0), losses), only=["ranks = one", "cached = plain"])
    assert found.passed, found


class Rows(list):
    """Rows as a recipe takes them."""

    fingerprint = "rows"
