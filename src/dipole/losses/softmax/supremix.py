"""SupReMix: contrast by a number. Equal numbers attract; mixtures with the anchor repel hard, mixtures around it attract; distance counts.

    l_i = -mean_{p in P(i)} s_ip / t + log sum_a w_ia exp(s_ia / t),   w_ia = 1 + magnify |y_i - y_a|      one value per query, nats
    a runs over the keys, over m = b_i z_i + (1 - b_i) z_k for every k of another number (b_i from Beta(first, second)), and over mixtures
    c z_j + (1 - c) z_k, y_j < y_i < y_k within ``window``, c such that the mixed number is y_i, which belong to P(i) too

Shapes: N unit vectors z against themselves, numbers y in ``rows["score"]`` and ``cols["score"]``. Mixtures are constants (the anchor
learns, they do not) and are not normalised again. Source: arXiv:2309.16633, its supplementary code for what the text leaves open.
One b an anchor and step; at most ``mixed_positives`` mixtures of an anchor, drawn by chance where there are more, since all of them
would be N^3. Negative mixtures are never laid out: their scores are b s_ii + (1 - b) s_ik.
Relation: without mixtures and with magnify 0, SupCon on the numbers as classes.
Rows without a positive have value 0 and no gradient. Errors: DegenerateBatchError where no two items have one number and none lies
between two others; DataError without numbers, and on a ring.

>>> import torch
>>> from dipole import Pairs
>>> plain = SupReMix(temperature=1.0, mixed_positives=0, mix_negatives=False, magnify=0.0)
>>> y = torch.tensor([0.0, 0.0, 1.0])
>>> pairs = Pairs.labelled(torch.eye(3), torch.tensor([0, 0, 1]))
>>> plain(replace(pairs, rows={"score": y}, cols={"score": y}))
tensor([0.6931, 0.6931, 0.0000])
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import nn

from dipole.core.chance import Chance
from dipole.core.errors import DataError, DegenerateBatchError
from dipole.core.mixtures import between
from dipole.core.noting import note_rows
from dipole.core.pairs import Pairs
from dipole.core.part import at_least, part, positive, switch
from dipole.core.requirements import metadata
from dipole.core.scores import Channel, Dot
from dipole.core.vectors import one_tensor, wide
from dipole.pairwise import LogSumExp, Sum, Tile, reduce

__all__ = ["SupReMix"]


@part
class SupReMix(nn.Module):
    """Softmax with distance-weighted keys and mixtures, in nats per query."""

    temperature: float = positive(0.3, "dot products are divided by it")
    window: float = positive(5.0, "how far the numbers of a mixture's two items may lie from the anchor's")
    mixed_positives: int = at_least(0, 32, "mixtures around an anchor at most; 0: none")
    mix_negatives: bool = switch(True, "mix the anchor into every key of another number")
    magnify: float = at_least(0.0, 1.0, "what a distance of 1 adds to a key's weight")
    first: int = at_least(1, 2, "of Beta(first, second), the anchor's share of a mixed negative")
    second: int = at_least(1, 8, "of Beta(first, second)")

    def __post_init__(self) -> None:
        self.chance = Chance()

    def forward(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        if pairs.ring is not None:
            raise DataError("SupReMix: needs the whole batch at hand, but a ring's ranks hold their own part", remedy="gather instead")
        y, chance, n = metadata("SupReMix", "score", pairs.rows), self.chance.next(), pairs.shape[0]
        metadata("SupReMix", "score", pairs.cols)
        all_z = wide(one_tensor(pairs.queries, "supremix"))
        z = all_z[pairs.own_rows]
        share = torch.rand(n, self.first + self.second - 1, generator=chance, dtype=torch.float64).sort(1).values[:, self.first - 1]
        mixed = between(all_z.detach(), y, pairs.own_rows, self.window, self.mixed_positives, chance) if self.mixed_positives else None
        count = pairs.positives_per_row() + (0 if mixed is None else mixed.there.sum(1))
        if pairs.local is None and not bool(count.any()):
            raise DegenerateBatchError("SupReMix: no item has a positive, real or mixed", value=f"{n} items", remedy="raise batch_size")
        stats = self._of_keys(pairs, z, share.to(z))
        every, attracted = stats["every"], stats["attracted"]
        if mixed is not None:
            scores = (z[:, None] * mixed.vectors).sum(2) / self.temperature
            every = torch.logaddexp(every, scores.masked_fill(~mixed.there, -torch.inf).logsumexp(1))
            attracted = attracted + scores.masked_fill(~mixed.there, 0.0).sum(1)
        return torch.where(count > 0, every - attracted / count.clamp(min=1), 0.0)

    def _of_keys(self, pairs: Pairs, z: torch.Tensor, share: torch.Tensor) -> dict[str, torch.Tensor]:
        still = {"still": Channel(pairs.queries, one_tensor(pairs.keys, "supremix").detach(), Dot())}
        noted = note_rows(replace(pairs, rows={**pairs.rows, "share": share}), own=(z * z.detach()).sum(1))

        def terms(tile: Tile) -> Mapping[str, torch.Tensor]:
            logits = tile.logits(self.temperature)
            apart = (tile.rows["score"] - tile.cols["score"]).abs().to(logits.dtype)
            every = logits + (1 + self.magnify * apart).log()
            if self.mix_negatives:
                share = tile.rows["share"]
                mixed = (share * tile.rows["own"] + (1 - share) * tile.channels["still"]) / self.temperature
                mixed = mixed + (1 + self.magnify * (1 - share) * apart).log()
                every = torch.logaddexp(every, mixed.masked_fill(apart == 0, -torch.inf))
            return {"every": every, "attracted": tile.only_positive(logits)}

        return vars(reduce(terms, noted, channels=still, every=LogSumExp("rows", of="every"), attracted=Sum("rows", of="attracted")))
