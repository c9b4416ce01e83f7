"""Mixed images or mixed texts: what belongs to what, and by how much."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from dipole.core.errors import DataError
from dipole.losses import KeysAsk, SupCon
from dipole.modality.image.encoders.conv import Conv
from dipole.modality.image.encoders.two_towers import TwoTowers
from dipole.modality.image.rows.digits import Digits
from dipole.modality.image.views.coin_flip import CoinFlip
from dipole.modality.toy.encoders.bag import Bag
from dipole.pairwise.scores.cosine import Cosine
from dipole.train.check import check
from dipole.train.recipe import Recipe

ROWS = [{"anchor": torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(i)), "positive": f"text {i}"} for i in range(5)]
SIDES = {
    side: torch.randn(5, 3, generator=torch.Generator().manual_seed(n), dtype=torch.float64) for n, side in enumerate(("queries", "keys"))
}


def flipped(heads: bool, beta: float = 1.0) -> Any:
    """A batch of the kind wanted."""
    for seed in range(50):
        torch.manual_seed(seed)
        batch = CoinFlip(beta=beta)(ROWS)
        if bool((batch.meta["keys.share"] == 1).all()) == heads:
            return batch
    raise AssertionError("fifty coins fell the same way")


@pytest.mark.parametrize("heads", [True, False])
def test_the_loss_is_that_of_both_targets(heads: bool) -> None:
    """ZeroVL: m CE(S, i) + (1 - m) CE(S, B + 1 - i) in both directions, of mixed images or of mixed text vectors."""
    batch = flipped(heads)
    m, turned = float(batch.meta["queries.share"][0]), torch.arange(5).flip(0)
    assert 0 < m < 1
    for place, image in enumerate(batch.items["queries"]):
        first, second = ROWS[place]["anchor"], ROWS[4 - place]["anchor"]
        torch.testing.assert_close(image, m * first + (1 - m) * second if heads else first)
    texts = SIDES["keys"] if heads else m * SIDES["keys"] + (1 - m) * SIDES["keys"].flip(0)
    scores = normalize(SIDES["queries"], dim=1) @ normalize(texts, dim=1).T / 0.2
    want = sum(m * cross_entropy(s, torch.arange(5)) + (1 - m) * cross_entropy(s, turned) for s in (scores, scores.T)) / 2
    pairs = CoinFlip().pairs(SIDES, batch.meta, Cosine())
    loss = SupCon(temperature=0.2)
    torch.testing.assert_close((loss(pairs).mean() + KeysAsk(loss)(pairs).mean()) / 2, want, rtol=1e-6, atol=1e-7)


def test_a_share_of_one_is_infonce_and_turning_round_changes_nothing() -> None:
    meta = dict(flipped(False).meta)
    whole = {**meta, "queries.share": torch.ones(5), "keys.share": torch.ones(5)}
    loss = SupCon(temperature=0.2)
    pairs = CoinFlip().pairs(SIDES, whole, Cosine())
    scores = normalize(SIDES["queries"], dim=1) @ normalize(SIDES["keys"], dim=1).T / 0.2
    torch.testing.assert_close(loss(pairs), scores.logsumexp(1) - scores.diagonal())
    other = {**meta, "queries.share": 1 - meta["queries.share"], "keys.share": 1 - meta["keys.share"]}
    back = {side: vectors.flip(0) for side, vectors in SIDES.items()}
    torch.testing.assert_close(loss(CoinFlip().pairs(back, other, Cosine())).flip(0), loss(CoinFlip().pairs(SIDES, meta, Cosine())))


def test_small_beta_hardly_mixes_and_coins_fall_both_ways() -> None:
    torch.manual_seed(0)
    shares, heads = [], 0
    for _ in range(200):
        batch = CoinFlip(beta=0.1)(ROWS)
        shares.append(float(batch.meta["queries.share"][0]))
        heads += int(bool((batch.meta["keys.share"] == 1).all()))
    near = sum(min(share, 1 - share) < 0.01 for share in shares) / 200
    assert 70 < heads < 130 and 0.5 < near < 0.9


def test_images_of_several_shapes_are_refused() -> None:
    rows = [{"anchor": torch.rand(1, size, 4), "positive": "a"} for size in (4, 5)]
    with pytest.raises(DataError, match=r"image\.coin_flip: images that are mixed must have one shape"):
        for seed in range(20):
            torch.manual_seed(seed)
            CoinFlip()(rows)


def test_two_processes_that_mix_their_own_rows_are_one() -> None:
    towers = TwoTowers(image=Conv(size=8, channels=1, width=4, depth=1, dimension=8), text=Bag(dimension=8, dropout=0.0), dimension=6)
    loss = SupCon(temperature=0.2)
    recipe = Recipe((Digits(count=24),), CoinFlip(beta=1.0), towers, (loss, KeysAsk(loss)), score=Cosine())
    found = check(recipe, only=["ranks = one", "cached = plain"])
    assert found.passed, found
