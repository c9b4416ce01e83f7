"""Coin flip: at each step either the images or the texts of a batch are mixed two by two, and what was mixed belongs to both.

    heads: x_i <- m x_i + (1 - m) x_{B+1-i}, the images      tails: the same of the texts' vectors      m ~ Beta(b, b), one a step
    the row i of either kind has the positives i, by the weight m, and B + 1 - i, by the weight 1 - m

Shapes: B rows; a process mixes its own rows with each other, in reverse order. ``keys_ask`` gives the other direction. Source: ZeroVL,
arXiv:2112.09331, coin flipping mixup, which mixes texts before they are normalised; here unit vectors are mixed, where the encoder gives
those. Relation: ``supcon`` reads the weights: m InfoNCE of the first and 1 - m InfoNCE of the second positive, in one softmax.
Errors: DataError where images of a batch differ in shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from dipole.core.errors import DataError
from dipole.core.pairs import Pairs
from dipole.core.part import part, positive
from dipole.core.protocols import Batch, Row
from dipole.core.relations import Match
from dipole.core.scores import Score
from dipole.core.vectors import Vectors, one_tensor
from dipole.modality.image.pixels import pixels
from dipole.views.aligned import plain_pairs

__all__ = ["CoinFlip"]


@part
class CoinFlip:
    """``queries`` are images, ``keys`` their texts; ``queries.share`` is m, and ``keys.share`` too where texts are mixed, else 1."""

    beta: float = positive(0.1, "b: small for mixtures that are nearly one of the two")

    def __call__(self, rows: Sequence[Row]) -> Batch:
        batch = plain_pairs(rows)
        count = len(rows)
        share = float(torch.distributions.Beta(self.beta, self.beta).sample())
        heads = bool(torch.rand(()) < 0.5)
        images = batch.items["queries"]
        if heads:
            images = _mixed([_pixels(image, f"image.coin_flip: row {place} of the batch") for place, image in enumerate(images)], share)
        every = torch.full((count,), share)
        meta = {
            "queries.mate_owner": torch.arange(count).flip(0),
            "queries.share": every,
            "keys.share": torch.ones(count) if heads else every,
        }
        return Batch({"queries": images, "keys": batch.items["keys"]}, {**batch.meta, **meta})

    def pairs(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor], score: Score) -> Pairs:
        own, mate = torch.arange(len(meta["queries.share"]), device=meta["queries.share"].device), meta["queries.mate_owner"]
        keys, kept = one_tensor(sides["keys"], "image.coin_flip"), meta["keys.share"].detach()[:, None]
        keys = (kept * keys + (1 - kept) * keys[mate]).to(keys.dtype)
        share = meta["queries.share"].detach().double()  # gathering lets gradients through
        pairs = Pairs.weighted(
            sides["queries"], keys, torch.cat([own, own]), torch.cat([own, mate]), torch.cat([share, 1 - share]), score=score
        )
        copies = tuple(Match(meta[f"{side}.id"], meta[f"{side}.id"]) for side in ("queries", "keys"))
        return replace(pairs, duplicates=copies)


def _pixels(item: object, place: str) -> torch.Tensor:
    return pixels(item, len(item) if isinstance(item, torch.Tensor) and item.dim() == 3 else 3, place)


def _mixed(images: list[torch.Tensor], share: float) -> list[torch.Tensor]:
    shapes = {tuple(image.shape) for image in images}
    if len(shapes) > 1:
        raise DataError("image.coin_flip: images that are mixed must have one shape", value=sorted(shapes), remedy="set size of the rows")
    return list(torch.stack(images).mul(share) + torch.stack(images[::-1]).mul(1 - share))
