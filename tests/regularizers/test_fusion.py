"""Matching and masked words by one transformer, against the same pair by pair and word by word."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax

from dipole.core.encoded import Encoded
from dipole.core.errors import DataError, DegenerateBatchError, ParameterError
from dipole.modality.toy.encoders.bag import Bag
from dipole.regularizers import Fusion
from dipole.views.masked_words import MaskedWords, class_of


def term(**given: float) -> Fusion:
    torch.manual_seed(0)
    return Fusion(dimension=6, layers=2, heads=2, **given).double()  # type: ignore[arg-type]


def side(count: int, tokens: int, seed: int, held: list[int]) -> Encoded:
    dice = torch.Generator().manual_seed(seed)
    vectors = torch.randn(count, tokens, 6, generator=dice, dtype=torch.float64)
    mask = torch.arange(tokens) < torch.tensor(held)[:, None]
    return Encoded(torch.randn(count, 6, generator=dice, dtype=torch.float64), vectors, mask)


IMAGE, TEXT = side(4, 3, 1, [3, 3, 2, 3]), side(4, 5, 2, [5, 2, 4, 1])


def test_matching_is_cross_entropy_over_three_times_the_pairs() -> None:
    fusion = term(temperature=1.0)
    wrong_text, wrong_image = copy.deepcopy(fusion).drawn(IMAGE, TEXT)

    def odds(text: int, image: int) -> torch.Tensor:
        """Of one pair by itself, without its padding."""
        assert TEXT.tokens is not None and TEXT.mask is not None and IMAGE.tokens is not None and IMAGE.mask is not None
        words, patches = TEXT.tokens[text, TEXT.mask[text]][None], IMAGE.tokens[image, IMAGE.mask[image]][None]
        return fusion.belongs(fusion.fused(words, patches).mean(1))[0, 0]

    pairs = [(i, i, 1.0) for i in range(4)]
    pairs += [(int(j), i, 0.0) for i, j in enumerate(wrong_text)] + [(i, int(j), 0.0) for i, j in enumerate(wrong_image)]
    logits = torch.stack([odds(text, image) for text, image, _ in pairs])
    want = binary_cross_entropy_with_logits(logits, torch.tensor([label for *_, label in pairs], dtype=torch.float64))
    torch.testing.assert_close(fusion.over_encoded({"queries": IMAGE, "keys": TEXT}), want)


def test_negatives_are_drawn_by_their_likeness_and_are_never_the_item_or_its_copy() -> None:
    eye = torch.eye(4, dtype=torch.float64)
    near = eye + 0.8 * eye.roll(1, dims=1)  # item i is like item i + 1
    one, other = Encoded(near), Encoded(eye)
    sharp, flat = term(temperature=0.01), term(temperature=100.0)
    for _ in range(20):
        text, image = sharp.drawn(one, other)
        assert text.tolist() == [1, 2, 3, 0] and image.tolist() == [3, 0, 1, 2]
    counts = torch.zeros(4, 4)
    for _ in range(600):
        counts[torch.arange(4), flat.drawn(one, other)[0]] += 1
    assert bool((counts.diagonal() == 0).all()) and bool((counts + 200 * torch.eye(4) - 200).abs().max() < 60)
    twice = replace(other, meta={"id": torch.tensor([7, 7, 8, 9])})  # texts 0 and 1 are the same one
    assert all(flat.drawn(one, twice)[0][0] != 1 and flat.drawn(one, twice)[1][1] != 0 for _ in range(50))


def test_words_that_were_taken_out_are_told_from_the_rest_and_the_image() -> None:
    fusion = term(words=9, temperature=1.0)
    targets = torch.zeros(4, 5, dtype=torch.int64)
    targets[0, 3], targets[2, 1], targets[2, 0] = 4, 9, 1
    masked = replace(side(4, 5, 3, [5, 2, 4, 1]), meta={"targets": targets})
    sides = {"queries": IMAGE, "keys": TEXT, "masked": masked}
    alone = term(words=9, temperature=1.0)
    alone.names = None
    got = fusion.over_encoded(sides) - alone.over_encoded(sides)
    assert masked.tokens is not None and fusion.names is not None and IMAGE.tokens is not None and IMAGE.mask is not None
    each = []
    for row, place in ((0, 3), (2, 1), (2, 0)):
        words, patches = masked.tokens[row, : [5, 2, 4, 1][row]][None], IMAGE.tokens[row, IMAGE.mask[row]][None]
        each.append(-log_softmax(fusion.names(fusion.fused(words, patches)[0, place]), 0)[targets[row, place] - 1])
    torch.testing.assert_close(got, torch.stack(each).mean())


def test_what_it_cannot_read_is_refused() -> None:
    sides = {"queries": IMAGE, "keys": TEXT}
    with pytest.raises(DataError, match="use the view masked_words"):
        term(words=3).over_encoded(sides)
    wrong = replace(TEXT, meta={"targets": torch.ones(4, 4, dtype=torch.int64)})
    with pytest.raises(DataError, match="masked words must be tokens, one each"):
        term(words=3).over_encoded({**sides, "masked": wrong})
    with pytest.raises(DegenerateBatchError, match="no word of the batch is masked"):
        term(words=3).over_encoded({**sides, "masked": replace(TEXT, meta={"targets": torch.zeros(4, 5, dtype=torch.int64)})})
    with pytest.raises(DegenerateBatchError, match="some items have no other"):
        term().over_encoded({"queries": IMAGE, "keys": replace(TEXT, meta={"id": torch.zeros(4, dtype=torch.int64)})})
    with pytest.raises(DataError, match="reads tokens and mask of keys"):
        term().over_encoded({"queries": IMAGE, "keys": Encoded(TEXT.pooled)})
    with pytest.raises(ParameterError, match="fusion: heads"):
        Fusion(dimension=6, heads=4)


def test_masked_words_are_asked_for_where_they_were() -> None:
    rows = [{"anchor": f"q{i}", "positive": " ".join(f"w{i}{j}" for j in range(3 + i % 4))} for i in range(200)]
    torch.manual_seed(0)
    batch = MaskedWords(share=0.3, classes=50)(rows)
    targets, shown = batch.meta["masked.targets"], batch.items["masked"]
    assert targets.shape == Bag().prepare(shown, "masked")["words"].shape
    kinds = {"mask": 0, "same": 0, "other": 0}
    for row, line, said in zip(rows, targets.tolist(), shown, strict=True):
        for place, (word, now) in enumerate(zip(row["positive"].split(), said.split(), strict=True)):
            if line[place]:
                assert line[place] == 1 + class_of(word, 50)
                kinds["mask" if now == "[MASK]" else "same" if now == word else "other"] += 1
            else:
                assert now == word
        assert any(line) and not any(line[len(said.split()) :])
    asked = sum(kinds.values())
    assert 0.72 < kinds["mask"] / asked < 0.88 and 0.04 < kinds["same"] / asked < 0.17 and 0.04 < kinds["other"] / asked < 0.17
    assert 0.3 < asked / sum(len(row["positive"].split()) for row in rows) < 0.45  # at least one a text
    assert batch.items["keys"] == [row["positive"] for row in rows]
    with pytest.raises(DataError, match="masked_words: the positive of row 0"):
        MaskedWords()([{"anchor": "a", "positive": 1}])
