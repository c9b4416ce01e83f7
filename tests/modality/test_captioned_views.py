"""Weak and changed copies of images and captions, and heads of their own for the changed ones."""

from __future__ import annotations

import pytest
import torch

from dipole.core.errors import ParameterError, UsageError
from dipole.losses import InfoNCE
from dipole.modality.image.encoders.conv import Conv
from dipole.modality.image.encoders.local_heads import LocalHeads
from dipole.modality.image.encoders.two_towers import TwoTowers
from dipole.modality.image.rows.digits import Digits
from dipole.modality.image.views.captioned_views import CaptionedViews, changed
from dipole.modality.toy.encoders.bag import Bag
from dipole.pairwise.scores.scaled_cosine import ScaledCosine
from dipole.train.objective import Objective
from dipole.train.step import backward
from dipole.views.ids import content_ids

ROWS = list(Digits(count=12))


def heads() -> LocalHeads:
    torch.manual_seed(0)
    image = Conv(size=8, channels=1, width=4, depth=1, dimension=12)
    return LocalHeads(TwoTowers(image=image, text=Bag(dimension=8, dropout=0.0), dimension=6), hidden=16)


def test_sides_are_copies_of_the_same_rows() -> None:
    batch = CaptionedViews(count=2, size=8)(ROWS)
    assert sorted(batch.items) == ["keys", "local_image1", "local_image2", "local_text1", "local_text2", "queries"]
    assert batch.items["keys"] == [row["positive"] for row in ROWS]
    for text, plain in zip(batch.items["local_text1"], batch.items["keys"], strict=True):
        assert text and set(text.split()) <= set(plain.split())
    assert not torch.equal(batch.items["local_image1"][0], batch.items["local_image2"][0])
    for side, of in (("local_image2", "anchor"), ("local_text1", "positive")):
        assert torch.equal(batch.meta[f"{side}.id"], content_ids([row[of] for row in ROWS]))
    with pytest.raises(ParameterError, match=r"image\.captioned_views: crop"):
        CaptionedViews(whole=0.0)


def test_words_go_and_change_places_as_often_as_was_asked() -> None:
    torch.manual_seed(0)
    text = "a b c d e f g h"
    assert changed(text, 0.0, 0.0) == text and changed(text, 1.0, 1.0) == "a"
    some = [changed(text, 0.25, 0.0) for _ in range(500)]
    assert 5.8 < sum(len(words.split()) for words in some) / 500 < 6.2
    assert all(words.split() == sorted(words.split()) for words in some)
    moved = [changed(text, 0.0, 0.4) != text for _ in range(500)]
    assert 0.33 < sum(moved) / 500 < 0.47


def test_local_sides_end_in_their_own_heads_and_others_do_not() -> None:
    encoder = heads()
    for items, side, name in ((ROWS[0]["anchor"], "queries", "image"), (ROWS[0]["positive"], "keys", "text")):
        plain, local = (encoder.prepare([items], s) for s in (side, "local_1"))
        torch.testing.assert_close(encoder(plain).pooled, encoder.encoder(plain).pooled)
        before = encoder.encoder.towers[name]({key.split(".")[1]: t for key, t in plain.items()}).pre_norm
        torch.testing.assert_close(encoder(local).pre_norm, encoder.heads[name](before))
        torch.testing.assert_close(encoder(local).pooled.norm(dim=1), torch.ones(1))
    assert encoder.identity == encoder.encoder.identity
    with pytest.raises(UsageError, match=r"image\.local_heads: goes around"):
        LocalHeads(Bag())


def test_a_loss_between_local_sides_teaches_towers_and_local_heads_alone() -> None:
    encoder = heads()
    objective = Objective(CaptionedViews(size=8), ScaledCosine(), [InfoNCE(temperature=1.0)], between=[("local_image1", "local_text2")])
    torch.manual_seed(0)
    backward(encoder, encoder, objective, objective.views(ROWS), 5)
    moved = {
        name.split(".")[0] if name.startswith("heads") else name.split(".")[1]
        for name, p in encoder.named_parameters()
        if p.grad is not None and bool(p.grad.any())
    }
    assert moved == {"heads", "image", "text"}
