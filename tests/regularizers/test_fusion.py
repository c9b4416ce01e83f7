"""Matching and masked words by one transformer, against the same pair by pair and word by word."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax

from dipole.assembly.build import build
from dipole.assembly.small import small
from dipole.assembly.spec import load
from dipole.core.encoded import Encoded
from dipole.core.errors import DataError, DegenerateBatchError, ParameterError
from dipole.modality.toy.encoders.bag import Bag
from dipole.regularizers import Fusion
from dipole.train.check import check
from dipole.train.ranks import objective_of
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


def test_a_share_of_what_masked_words_should_be_is_the_twins_answer() -> None:
    """ALBEF's momentum distillation: the twin reads what the towers' twin made of both, and follows the live weights."""
    fusion, hard = term(words=9, share=0.4, decay=0.9), term(words=9)
    targets = torch.zeros(4, 5, dtype=torch.int64)
    targets[0, 3], targets[2, 1] = 4, 9
    masked = replace(side(4, 5, 3, [5, 2, 4, 1]), meta={"targets": targets})
    slow = {"queries_twin": side(4, 3, 5, [3, 3, 2, 3]), "masked_twin": side(4, 5, 6, [5, 2, 4, 1])}
    sides = {"queries": IMAGE, "keys": TEXT, "masked": masked}
    assert fusion.asks == {"queries_twin": "queries", "masked_twin": "masked"} and hard.asks == {}
    assert fusion.names is not None and fusion.twin is not None
    with torch.no_grad():
        for weight in fusion.fused.parameters():
            weight.mul_(1.1)  # the live weights move, the twin stays until the step is done
        hard.fused.load_state_dict(fusion.fused.state_dict())
        first = copy.deepcopy(hard).over_encoded(sides)
        start = term(words=9)
        expected = []
        for row, place in ((0, 3), (2, 1)):
            read = []
            for by, given, image in ((fusion, masked, IMAGE), (start, slow["masked_twin"], slow["queries_twin"])):
                assert given.tokens is not None and image.tokens is not None and image.mask is not None and by.names is not None
                words, patches = given.tokens[row, : [5, 2, 4, 1][row]][None], image.tokens[row, image.mask[row]][None]
                read.append(log_softmax(by.names(by.fused(words, patches)[0, place]), 0))
            expected.append((-read[0][targets[row, place] - 1], -(read[1].exp() * read[0]).sum()))
    sharp, soft = (torch.stack(column).mean() for column in zip(*expected, strict=True))
    value = fusion.over_encoded({**sides, **slow})
    torch.testing.assert_close(value.detach(), first + 0.4 * (soft - sharp))
    value.backward()
    assert all(p.grad is None and not p.requires_grad for p in fusion.twin.parameters())
    fusion.after_step()
    for twin, live, before in zip(fusion.twin[0].parameters(), fusion.fused.parameters(), start.fused.parameters(), strict=True):
        torch.testing.assert_close(twin, 0.9 * before.detach() + 0.1 * live.detach())
    with pytest.raises(DataError, match="reads tokens and mask of masked_twin"):
        fusion.over_encoded(sides)


def test_the_twins_share_rises_from_nothing_over_the_ramp() -> None:
    targets = torch.zeros(4, 5, dtype=torch.int64)
    targets[0, 3], targets[2, 1] = 4, 9
    masked = replace(side(4, 5, 3, [5, 2, 4, 1]), meta={"targets": targets})
    slow = {"queries_twin": side(4, 3, 5, [3, 3, 2, 3]), "masked_twin": side(4, 5, 6, [5, 2, 4, 1])}
    sides = {"queries": IMAGE, "keys": TEXT, "masked": masked, **slow}
    none, whole, rising = term(words=9), term(words=9, share=0.4), term(words=9, share=0.4, ramp=4)
    for part in (0.0, 0.25, 0.5, 0.75, 1.0, 1.0):
        low, high, got = (fusion.over_encoded(sides) for fusion in (none, whole, rising))
        torch.testing.assert_close(got, (1 - part) * low + part * high)
        rising.after_step()


def test_training_with_twins_goes_on_where_it_stopped() -> None:
    spec = small(load("albef", "words"))
    recipe = build(spec.changed({"step": {"batch_size": 12, "micro_batch_size": 5}}, "test"))
    encoder: Any = recipe.encoder
    assert set(objective_of(recipe).asks) == {"queries_twin", "keys_twin", "masked_twin"}
    assert all(rising.ramp > 6 for rising in recipe.losses)  # type: ignore[union-attr]  # the teacher's share rises throughout
    (finding,) = check(recipe, rows=12, steps=6, only=["resumed = unbroken"]).findings
    assert finding.passed and finding.difference == 0
    objective = objective_of(recipe)
    batch = objective.complete(recipe.views([recipe.rows[0][i] for i in range(12)]), encoder.learns)
    assert batch.items["masked_twin"] == batch.items["masked"]


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
    with pytest.raises(ParameterError, match="fusion: share must be 0 without words"):
        Fusion(dimension=6, heads=2, share=0.4)


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
