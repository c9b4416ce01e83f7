"""Clouds of points: solids, groups, masks, and the order in which hidden parts come back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dipole.core.errors import DataError, ParameterError
from dipole.modality.load import open_encoder
from dipole.modality.points.encoders.masked import Masked, farthest, pick
from dipole.modality.points.rows.shapes import NAMES, Shapes, solid


def small(**given: int | float) -> Masked:
    return Masked(**{"dimension": 8, "groups": 8, "group_size": 4, "width": 8, "depth": 1, "decoder_depth": 1, "heads": 2, **given})  # type: ignore[arg-type]


def test_solids_have_their_points_on_their_surface() -> None:
    gen = torch.Generator().manual_seed(0)
    made = {name: solid(name, 500, gen) for name in NAMES}
    wide = {name: cloud[:, :2].norm(dim=1) for name, cloud in made.items()}
    torch.testing.assert_close(made["sphere"].norm(dim=1), torch.ones(500))
    torch.testing.assert_close(made["box"].abs().amax(1), torch.ones(500))
    torch.testing.assert_close(wide["cylinder"], torch.ones(500))
    torch.testing.assert_close(wide["cone"], (1 - made["cone"][:, 2]) / 2)
    torch.testing.assert_close((wide["ring"] - 0.7) ** 2 + made["ring"][:, 2] ** 2, torch.full((500,), 0.09))
    rows = Shapes(count=10, points=16)
    assert [row["label"] for row in rows] == [0, 1, 2, 3, 4] * 2 and rows[7]["positive"] == "cylinder"
    assert Shapes(count=3).fingerprint == Shapes(count=3).fingerprint != Shapes(count=3, seed=1).fingerprint


def test_farthest_points_and_their_nearest() -> None:
    line = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [10, 0, 0]])
    assert farthest(line[None], torch.ones(1, 4, dtype=torch.bool), 3).tolist() == [[3, 0, 2]]
    inputs = small(groups=2, group_size=2, ratio=0.5).prepare([line])
    assert inputs["centres"][0].tolist() == [[10, 0, 0], [0, 0, 0]]
    assert inputs["points"][0].tolist() == [[[0, 0, 0], [-8, 0, 0]], [[0, 0, 0], [1, 0, 0]]]


def test_a_cloud_is_cut_alike_beside_a_longer_one() -> None:
    short, long = (torch.randn(n, 3, generator=torch.Generator().manual_seed(n)) + 5 for n in (9, 30))
    encoder = small().eval()
    alone, beside = encoder.prepare([short]), encoder.prepare([short, long])
    for name in ("centres", "points"):
        assert torch.equal(alone[name][0], beside[name][0])


def test_tokens_come_back_to_their_places() -> None:
    tokens = torch.randn(3, 8, 2)
    order = torch.rand(3, 8).argsort(1)
    assert torch.equal(pick(pick(tokens, order), order.argsort(1)), tokens)
    encoder = small()
    items = [row["anchor"] for row in Shapes(count=6)]
    torch.manual_seed(0)
    views = {side: encoder(encoder.prepare(items, side)) for side in ("queries", "keys")}
    masks = [view.meta["masked"] for view in views.values()]
    assert [int(m.sum()) for m in masks] == [6 * 5] * 2 and not torch.equal(*masks)
    assert torch.equal(views["queries"].meta["points"], views["keys"].meta["points"])
    assert views["keys"].meta["predicted"].shape == (6, 8, 4, 3) and views["keys"].tokens is not None


def test_what_is_hidden_is_not_seen_and_what_is_visible_is() -> None:
    encoder, cloud = small(), Shapes(count=1)[0]["anchor"]
    inputs = dict(encoder.prepare([cloud]))
    hidden = int(inputs["order"][0, -1])
    shown = int(inputs["order"][0, 0])
    before = encoder(inputs)
    for place, same in ((hidden, True), (shown, False)):
        points = inputs["points"].clone()
        points[0, place] += 1
        changed = encoder({**inputs, "points": points})
        assert torch.equal(changed.pooled, before.pooled) == same == torch.equal(changed.meta["predicted"], before.meta["predicted"])


def test_with_independent_masks_a_share_of_the_ratio_squared_is_hidden_in_both() -> None:
    encoder = small(groups=20, group_size=4)
    items = [row["anchor"] for row in Shapes(count=200, points=24)]
    first, second = (encoder(encoder.prepare(items, side)).meta["masked"] for side in ("queries", "keys"))
    assert float((first & second).double().mean()) == pytest.approx(0.36, abs=0.02)


def test_it_is_saved_and_sees_all_when_it_does_not_train(tmp_path: Path) -> None:
    encoder, items = small(), [row["anchor"] for row in Shapes(count=5)]
    vectors = encoder.encode(items, batch_size=2)
    torch.testing.assert_close(vectors, encoder.encode(items))
    assert vectors.shape == (5, 8)
    again = open_encoder(encoder.save(tmp_path))
    assert torch.equal(again.encode(items, batch_size=2), vectors) and again.identity == encoder.identity
    for wrong in ("no cloud", torch.zeros(5, 2), torch.zeros(3, 3), torch.full((9, 3), torch.nan)):
        with pytest.raises(DataError, match=r"points\.masked: item 0 of queries"):
            encoder.prepare([wrong])
    with pytest.raises(ParameterError, match="ratio"):
        small(ratio=0.01)
