"""A detector's predictions, and objects and tokens that read each other, against attention by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import layer_norm

from dipole.core.errors import DataError, ParameterError
from dipole.modality.image.encoders.detector import Detector
from dipole.modality.image.two_way import TwoWay
from dipole.modality.load import open_encoder
from dipole.modality.toy.rows.objects import Objects


def two_way(depth: int = 2) -> TwoWay:
    torch.manual_seed(0)
    return TwoWay(8, 2, depth, 16).double()


def given(objects: int = 3, tokens: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    dice = torch.Generator().manual_seed(1)
    o, m = (torch.randn(2, n, 8, generator=dice, dtype=torch.float64) for n in (objects, tokens))
    return o, m, torch.ones(2, objects, dtype=torch.bool), torch.ones(2, tokens, dtype=torch.bool)


def by_hand(attention: nn.MultiheadAttention, asking: torch.Tensor, answering: torch.Tensor) -> torch.Tensor:
    """(n, 8) of one image: every head's softmax, one entry after the other."""
    wq, wk, wv = attention.in_proj_weight.chunk(3)
    bq, bk, bv = attention.in_proj_bias.chunk(3)
    q, k, v = asking @ wq.T + bq, answering @ wk.T + bk, answering @ wv.T + bv
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        rows = []
        for i in range(len(q)):
            odds = torch.stack([(q[i, head] @ k[j, head] / 2).exp() for j in range(len(k))])
            rows.append(sum(odds[j] / odds.sum() * v[j, head] for j in range(len(k))))
        heads.append(torch.stack(rows))
    return torch.cat(heads, 1) @ attention.out_proj.weight.T + attention.out_proj.bias


def test_a_layer_is_the_four_lines_of_the_paper() -> None:
    block = two_way(depth=1)
    layer = block.layers[0]
    o, m, held, there = given()
    held[1, 2], there[1, 4] = False, False
    got_o, got_m = block(o, m, held, there)
    for image, (n, length) in enumerate(((3, 5), (2, 4))):
        x, y = o[image, :n], m[image, :length]
        x = layer_norm(x + by_hand(layer.among, x, x), (8,))
        x = layer_norm(x + by_hand(layer.reading, x, y), (8,))
        x = layer_norm(x + layer.mlp(x), (8,))
        y = layer_norm(y + by_hand(layer.read, y, x), (8,))
        torch.testing.assert_close(got_o[image, :n], x)
        torch.testing.assert_close(got_m[image, :length], y)


def test_without_output_and_network_only_norms_are_left() -> None:
    block = two_way()
    for layer in block.layers:
        for attention in (layer.among, layer.reading, layer.read):
            nn.init.zeros_(attention.out_proj.weight)
            nn.init.zeros_(attention.out_proj.bias)
        nn.init.zeros_(layer.mlp[2].weight)
        nn.init.zeros_(layer.mlp[2].bias)
    o, m, held, there = given()
    got_o, got_m = block(o, m, held, there)
    torch.testing.assert_close(got_o, layer_norm(o, (8,)), rtol=1e-3, atol=1e-3)  # a norm of a norm: its epsilon is added each time
    torch.testing.assert_close(got_m, layer_norm(m, (8,)), rtol=1e-3, atol=1e-3)


def test_the_order_of_objects_is_theirs_alone() -> None:
    block = two_way()
    o, m, held, there = given()
    held[0, 1] = False
    order = torch.tensor([2, 0, 1])
    got_o, got_m = block(o, m, held, there)
    moved_o, moved_m = block(o[:, order], m, held[:, order], there)
    torch.testing.assert_close(moved_o[held[:, order]], got_o[:, order][held[:, order]])
    torch.testing.assert_close(moved_m, got_m)


def test_an_image_without_objects_keeps_its_tokens() -> None:
    block = two_way(depth=1)
    o, m, held, there = given()
    held[1] = False
    got = block(o, m, held, there)[1]
    torch.testing.assert_close(got[1], layer_norm(m[1], (8,)))
    assert float((got[0] - layer_norm(m[0], (8,))).detach().abs().max()) > 0.01


def made() -> Detector:
    torch.manual_seed(0)
    return Detector(dimension=8, features=16, objects=16, queries=4, layers=1, heads=2, depth=1, mlp=16)


def test_what_is_found_does_not_depend_on_objects_nor_on_the_other_images(tmp_path: Path) -> None:
    encoder = made().eval()
    items = [row["anchor"] for row in Objects(count=3)]
    items[1] = {**items[1], "tokens": items[1]["tokens"][:9], "objects": items[1]["objects"][:0]}
    out = encoder(encoder.prepare(items))
    assert out.tokens.shape == out.meta["enhanced"].shape == (3, 4, 8)
    assert out.meta["objects_mask"].sum(1).tolist() == [len(item["objects"]) for item in items]
    plain = [{"tokens": item["tokens"]} for item in items]
    alone = [encoder(encoder.prepare([item])) for item in plain]
    assert not alone[0].meta
    torch.testing.assert_close(torch.cat([one.tokens for one in alone]), out.tokens, rtol=1e-4, atol=1e-5)
    assert float((out.meta["enhanced"][0] - out.tokens[0]).detach().abs().max()) > 0.01
    encoder.save(tmp_path / "held")
    again = open_encoder(str(tmp_path / "held"))
    assert again.identity == encoder.identity and torch.equal(again.encode(plain), encoder.encode(plain))


def test_gradients_reach_queries_tokens_and_objects() -> None:
    encoder = made()
    out = encoder(encoder.prepare([row["anchor"] for row in Objects(count=3)]))
    (out.meta["enhanced"].square().sum() + out.meta["objects"].square().sum() + out.tokens.sum()).backward()
    assert all(
        p.grad is not None and float(p.grad.norm()) > 0 for p in (encoder.asked, encoder.from_tokens.weight, encoder.from_objects.weight)
    )


def test_what_it_refuses() -> None:
    encoder, good = made(), Objects(count=1)[0]["anchor"]
    with pytest.raises(DataError, match=r"item 1 must have tokens, a tensor \(number, 16\) \(got \(3, 5\)\)"):
        encoder.prepare([good, {"tokens": torch.zeros(3, 5)}])
    with pytest.raises(DataError, match="item 1 must have objects"):
        encoder.prepare([good, {"tokens": torch.zeros(3, 16)}])
    with pytest.raises(DataError, match="item 0 must have tokens"):
        encoder.prepare(["a text"])
    with pytest.raises(ParameterError, match="heads must be a divisor of dimension, 9"):
        Detector(dimension=9, heads=2)
