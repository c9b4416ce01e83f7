"""Images as items: what counts as one, rows, encoders, augmented views."""

from __future__ import annotations

import io
import json
import math
import random
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from dipole.core.errors import CheckpointError, DataError, ParameterError, UsageError
from dipole.modality.image.encoders.conv import Conv
from dipole.modality.image.encoders.two_towers import TwoTowers
from dipole.modality.image.encoders.vit import ViT
from dipole.modality.image.pixels import batch, pixels
from dipole.modality.image.rows.dials import Dials
from dipole.modality.image.rows.digits import NAMES, Digits
from dipole.modality.image.rows.folder import Folder
from dipole.modality.image.views.augmented import Augmented
from dipole.modality.image.views.labelled_views import LabelledViews
from dipole.modality.image.views.two_views import TwoViews
from dipole.modality.toy.encoders.bag import Bag
from dipole.views.class_pairs import ClassPairs
from dipole.views.ids import content_ids

RED = Image.new("RGB", (6, 4), (255, 0, 0))


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_every_form_of_an_image_is_the_same_image(tmp_path: Path) -> None:
    RED.save(tmp_path / "red.png")
    wanted = torch.zeros(3, 4, 6)
    wanted[0] = 1
    for item in (RED, png(RED), tmp_path / "red.png", str(tmp_path / "red.png"), wanted, (wanted * 255).to(torch.uint8)):
        torch.testing.assert_close(pixels(item, 3), wanted)
    torch.testing.assert_close(pixels(RED, 1), torch.full((1, 4, 6), 76 / 255))  # 0.299 of 255, as Pillow rounds it
    torch.testing.assert_close(pixels(wanted, 1), torch.full((1, 4, 6), 0.299))
    assert torch.equal(pixels(torch.tensor([[0.0, 1.0]]), 3), torch.tensor([[0.0, 1.0]]).expand(3, 1, 2))


def test_transparency_lies_on_white_and_exif_turns() -> None:
    clear = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    assert torch.equal(pixels(clear, 3), torch.ones(3, 2, 2))
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.fromarray(numpy.array([[0, 255]], dtype=numpy.uint8)).save(file, "PNG", exif=exif)
    assert pixels(file.getvalue(), 1).shape == (1, 2, 1)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (3, "must be a tensor, a Pillow image"),
        (torch.zeros(2, 3, dtype=torch.int64), "uint8 or floating point"),
        (torch.zeros(4, 2, 2), "must have 3 channels"),
        (b"GIF89a nothing", "no readable image"),
        (Path("no-such-file.png"), "no-such-file.png: there is no such image file"),
    ],
)
def test_what_is_no_image_is_refused_by_name(item: object, said: str) -> None:
    with pytest.raises(DataError, match=said):
        pixels(item, 3)
    if not isinstance(item, (bytes, Path)):
        with pytest.raises(DataError, match="conv, keys: item 1"):
            batch([RED, item], 3, 8, "conv, keys")


def test_ids_of_tensors_see_every_number() -> None:
    """A tensor's repr leaves out the middle of large ones."""
    one, two = torch.zeros(3, 64, 64), torch.zeros(3, 64, 64)
    two[1, 32, 32] = 1
    ids = content_ids([one, two, one.clone(), one.flatten(), one.to(torch.float64), RED, RED.copy(), Image.new("RGB", (6, 4))])
    assert ids[0] == ids[2] and ids[5] == ids[6] and len(set(ids.tolist())) == 6


def test_digits_and_their_captions() -> None:
    train, test = Digits(), Digits(part="test")
    assert (len(train), len(test), len(Digits(part="all"))) == (1437, 360, 1797)
    for row in train:
        named = {word for word in row["positive"].split() if word in NAMES or word.isdigit()}
        assert named == {NAMES[row["label"]]} or named == {str(row["label"])}
        assert row["anchor"].shape == (1, 8, 8) and row["anchor"].dtype == torch.uint8 and row["anchor"].max() > 200
    assert len({row["positive"] for row in train}) == 100  # 5 wordings, digits in words and figures
    assert train.fingerprint == Digits().fingerprint != Digits(seed=1).fingerprint
    with pytest.raises(ParameterError, match="at most 360"):
        Digits(part="test", count=400)


def photos(folder: Path) -> Path:
    for kind, color in (("red_car", "red"), ("sky", "blue")):
        (folder / kind).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (5 + number, 7), color).save(folder / kind / f"{number}.png")
    return folder


def test_some_captions_of_digits_can_be_wrong() -> None:
    rows, honest = list(Digits(wrong=0.3)), list(Digits())
    said = [next(d for d, name in enumerate(NAMES) if name in row["positive"].split() or str(d) in row["positive"].split()) for row in rows]
    share = sum(d != row["label"] for d, row in zip(said, rows, strict=True)) / len(rows)
    assert 0.26 < share < 0.34
    assert [row["label"] for row in rows] == [row["label"] for row in honest]
    assert Digits(wrong=0.0).fingerprint == Digits().fingerprint != Digits(wrong=0.3).fingerprint


def test_digits_of_one_web_site_are_an_eighth_that_gives_it_away() -> None:
    everywhere = list(Digits())
    sites = [list(Digits(site=site)) for site in range(1, 9)]
    assert sum(map(len, sites)) == 1437
    for number, rows in enumerate(sites):
        assert [row["label"] for row in rows] == [row["label"] for row in everywhere[number::8]]
        assert all(row["anchor"][0, number, 0] == 255 and row["positive"].split()[-1] == f"site{number + 1}" for row in rows)
        assert torch.equal(rows[0]["anchor"][..., 1:], everywhere[number]["anchor"][..., 1:])


def test_a_folder_of_classes(tmp_path: Path) -> None:
    rows = Folder(path=str(photos(tmp_path / "photos")))
    assert [(row["label"], row["class"], row["positive"]) for row in rows] == [(0, "red_car", "red car")] * 3 + [(1, "sky", "sky")] * 3
    assert rows[2]["anchor"].shape == (3, 7, 7) and rows[0]["anchor"].shape == (3, 7, 5)
    assert Folder(path=str(tmp_path / "photos"), size=4, grey=True)[0]["anchor"].shape == (1, 4, 4)
    elsewhere = photos(tmp_path / "moved")
    assert Folder(path=str(elsewhere)).fingerprint == rows.fingerprint
    (elsewhere / "sky" / "2.png").rename(elsewhere / "sky" / "3.png")
    assert Folder(path=str(elsewhere)).fingerprint != rows.fingerprint


def test_a_table_of_paths_and_captions(tmp_path: Path) -> None:
    photos(tmp_path / "photos")
    entries = [
        {"image": "photos/sky/0.png", "caption": "the sky", "label": "sky"},
        {"image": "photos/red_car/1.png", "caption": ["a car", "something red"], "label": "car"},
    ]
    table = tmp_path / "captions.jsonl"
    table.write_text("".join(json.dumps(e) + "\n" for e in entries))
    rows = list(Folder(path=str(table)))
    assert [row["positive"] for row in rows] == ["the sky", ["a car", "something red"]]
    assert [row["label"] for row in rows] == [1, 0] and rows[1]["anchor"].shape == (3, 7, 6)
    (tmp_path / "captions.csv").write_text("file,text\nphotos/sky/0.png,sky\nphotos/sky/9.png,none\n")
    with pytest.raises(DataError, match=r"captions\.csv:3, column 'file': there is no such image file"):
        Folder(path=str(tmp_path / "captions.csv"))
    (tmp_path / "bare.csv").write_text("text\nsky\n")
    with pytest.raises(DataError, match="no column names the images"):
        Folder(path=str(tmp_path / "bare.csv"))
    with pytest.raises(UsageError, match="neither a folder nor a file"):
        Folder(path=str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no image"):
        Folder(path=str(tmp_path / "empty"))


ENCODERS = {
    "conv": lambda: Conv(dimension=12, size=8, channels=1, width=8, depth=2),
    "vit": lambda: ViT(dimension=12, size=8, channels=1, width=16, depth=2, heads=2, dropout=0.1),
    "two_towers": lambda: TwoTowers(image=Conv(size=8, channels=1, width=8, depth=1), text=Bag(dimension=8), dimension=12),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_keeps_its_promises(name: str, tmp_path: Path) -> None:
    encoder = ENCODERS[name]()
    images = [row["anchor"] for row in Digits(count=7)]
    vectors = encoder.encode(images, batch_size=3)
    assert vectors.shape == (7, 12) and encoder.dimension == 12 and encoder.training
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(7))
    torch.testing.assert_close(encoder.encode(images[::-1], batch_size=7).flip(0), vectors)  # no image sees another
    found = encoder.eval()(encoder.prepare(images))
    torch.testing.assert_close(found.pooled, vectors)
    torch.testing.assert_close(torch.nn.functional.normalize(found.pre_norm, dim=-1), found.pooled)
    assert found.tokens.shape[-1] == 12 and found.mask.shape == found.tokens.shape[:2] and found.mask.all()
    again = type(encoder).load(encoder.save(tmp_path / name))
    assert again.identity == encoder.identity and torch.equal(again.encode(images), encoder.encode(images))
    with torch.no_grad():
        next(again.parameters()).add_(1)
    assert again.identity != encoder.identity
    assert encoder.encode([]).shape == (0, 12)
    with pytest.raises(CheckpointError, match="can be read from here"):
        type(encoder).load(tmp_path)


def test_conv_tokens_are_places_row_by_row() -> None:
    """A bright spot moves the token at its place most."""
    encoder = Conv(dimension=8, size=32, channels=1, width=8, depth=3).eval()
    image = torch.zeros(1, 32, 32)
    spot = image.clone()
    spot[0, 10:14, 26:30] = 1  # place (1, 3) of 4 x 4
    plain, lit = (encoder(encoder.prepare([x])) for x in (image, spot))
    assert int((lit.tokens - plain.tokens).norm(dim=-1).argmax()) == 1 * 4 + 3


def test_vit_blocks_start_different() -> None:
    vit = ViT(depth=2)
    first, second = vit.blocks.layers
    for (name, a), (_, b) in zip(first.named_parameters(), second.named_parameters(), strict=True):
        assert a.dim() < 2 or not torch.equal(a, b), name


@pytest.mark.parametrize(("make", "said"), [(lambda: Conv(size=12), "multiple of 8"), (lambda: ViT(patch=5), "divisor of size")])
def test_shapes_that_do_not_fit_are_refused(make: object, said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        make()  # type: ignore[operator]


def test_two_towers_know_their_sides() -> None:
    towers = ENCODERS["two_towers"]()
    image = Digits(count=1)[0]["anchor"]
    assert set(towers.prepare([image], "queries")) == {"image.pixels"} and set(towers.prepare(["a"], "keys")) == {"text.words"}
    assert set(towers.prepare(["a"], "negatives")) == {"text.words"}
    with pytest.raises(DataError, match="must be a text"):
        towers.prepare([image], "keys")
    turned = TwoTowers(image=Conv(), text=Bag(), image_side="keys")
    assert set(turned.prepare(["a"], "queries")) == {"text.words"} and set(turned.prepare([image], "negatives")) == {"image.pixels"}
    assert torch.equal(towers.encode(["a"]), towers.encode(["a"], side="keys"))
    assert torch.equal(towers.encode([image]), towers.encode([image], side="queries"))
    with pytest.raises(DataError, match="all be texts or all be images"):
        towers.encode([image, "a"])


def test_two_views_differ_and_repeat_with_torch_alone() -> None:
    rows = list(Digits(count=6))
    views = TwoViews(size=16, blur=0.5)
    torch.manual_seed(3)
    first = views(rows)
    torch.manual_seed(3)
    random.random()
    numpy.random.rand(3)  # other generators have no say
    again = views(rows)
    for side in ("queries", "keys"):
        for a, b in zip(first.items[side], again.items[side], strict=True):
            assert torch.equal(a, b) and a.shape == (1, 16, 16) and a.min() >= 0 and a.max() <= 1
    assert not any(torch.equal(a, b) for a, b in zip(first.items["queries"], first.items["keys"], strict=True))
    assert not torch.equal(views(rows).items["queries"][0], first.items["queries"][0])
    assert torch.equal(first.meta["queries.id"], content_ids([row["anchor"] for row in rows]))
    pairs = views.pairs({"queries": torch.eye(6), "keys": torch.eye(6)}, first.meta, None)  # type: ignore[arg-type]
    assert pairs.rows["label"].tolist() == [row["label"] for row in rows]


def test_views_of_images_of_many_sizes_and_of_colour() -> None:
    rows = [{"anchor": torch.rand(3, 9, 12)}, {"anchor": torch.rand(3, 30, 20)}, {"anchor": RED}]
    batch = TwoViews(size=8)(rows)
    assert [image.shape for image in batch.items["keys"]] == [(3, 8, 8)] * 3 and "queries.label" not in batch.meta
    unchanged = TwoViews(size=9, crop=1.0, mirror=False, color=0.0)([{"anchor": torch.full((1, 9, 9), 0.25)}]).items["queries"][0]
    torch.testing.assert_close(unchanged, torch.full((1, 9, 9), 0.25))
    with pytest.raises(ParameterError, match="crop"):
        TwoViews(crop=0.0)


def test_labelled_views_make_copies_positives() -> None:
    rows = list(Digits(count=4))
    views = LabelledViews(size=8, copies=3)
    batch = views(rows)
    assert len(batch.items["queries"]) == 12
    assert batch.meta["queries.label"].tolist() == [row["label"] for row in rows] * 3
    pairs = views.pairs({"queries": torch.randn(12, 4)}, batch.meta, None)  # type: ignore[arg-type]
    assert pairs.positives_per_row().tolist() == [2] * 12  # labels 0 1 2 3


def test_any_view_of_images_can_be_augmented() -> None:
    rows = list(Digits(count=4))
    views = Augmented(of=ClassPairs(), size=6, crop=0.5)
    batch = views(rows)
    assert list(batch.items) == ["queries"] and [image.shape for image in batch.items["queries"]] == [(1, 6, 6)] * 4
    assert batch.meta["queries.label"].tolist() == [row["label"] for row in rows]
    assert sorted(batch.meta["queries.partner"].tolist()) == sorted(batch.meta["queries.label"].tolist())
    pairs = views.pairs({"queries": torch.randn(4, 3)}, batch.meta, None)  # type: ignore[arg-type]
    assert torch.equal(pairs.rows["partner"], batch.meta["queries.partner"])
    twice = Augmented(size=8)(rows)
    assert torch.equal(twice.meta["queries.id"], content_ids([row["anchor"] for row in rows]))
    assert not any(torch.equal(a, b) for a, b in zip(twice.items["queries"], twice.items["keys"], strict=True))
    with pytest.raises(ParameterError, match=r"image\.augmented: crop"):
        Augmented(crop=0.0)


def test_dials_point_where_their_number_says() -> None:
    dials = Dials(count=64, noise=0.0, size=9)
    for row in dials:
        rows, cols = (row["anchor"][0] > 0.5).nonzero(as_tuple=True)
        far = ((rows - 4) ** 2 + (cols - 4) ** 2).argmax()
        angle = math.atan2(4 - float(rows[far]), float(cols[far]) - 4)
        assert abs(angle - math.pi * (1 - row["number"] / 20)) < 0.26  # half a pixel at the rim
    number = {tuple(row["anchor"].flatten().tolist()): row["number"] for row in dials}
    assert all(row["score"] == -abs(row["number"] - number[tuple(row["positive"].flatten().tolist())]) for row in dials)
    assert Dials(count=9).fingerprint == Dials(count=9).fingerprint != Dials(count=9, seed=1).fingerprint


def test_digits_may_be_rare_or_unknown() -> None:
    counts = [sum(row["label"] == digit for row in Digits(long_tail=10)) for digit in range(10)]
    assert counts == sorted(counts, reverse=True) and counts[0] == pytest.approx(10 * counts[9], rel=0.05)
    assert counts[3] / counts[6] == pytest.approx(10 ** (3 / 9), rel=0.05)
    half = Digits(known=5, count=50)
    assert [row["label"] for row in half] == [row["label"] if row["label"] < 5 else -1 for row in Digits(count=50)]
    assert half.fingerprint != Digits(count=50).fingerprint
