"""Matching: a small network reads both vectors and says whether they belong together; the negatives are the hardest of the batch.

    l_i = softplus(-f(q_i, k_i)) + softplus(f(q_i, k_j*)) + softplus(f(q_j', k_i)),   f(u, v) = MLP [u; v; u * v; |u - v|]      nats

j* is the negative with the highest score of query i, j' the query with the highest score for key i.

Shapes: N queries, M >= N keys, aligned. Source: the image-text matching loss of arXiv:2107.07651, sec. 3.2, which draws its two
negatives in proportion to the softmax of the scores, where this takes the highest; features of a pair as in arXiv:1705.02364.
Relation: siglip judges a pair by its dot product alone. The scores that pick the negatives get no gradient from it.
Errors: DegenerateBatchError on a single key, or where a row has no negative; DataError unless aligned, and on a ring, whose
ranks do not hold the negatives they pick.

>>> import torch
>>> from dipole import Pairs
>>> loss = Matching(dim=3)
>>> loss(Pairs.aligned(torch.eye(3), torch.eye(3))).shape
torch.Size([3])
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import softplus

from dipole.core.errors import DataError, DegenerateBatchError
from dipole.core.pairs import Pairs
from dipole.core.part import at_least, part
from dipole.core.vectors import of_length, one_tensor, wide
from dipole.pairwise import Tile, TopK, reduce

__all__ = ["Matching"]


@part
class Matching(nn.Module):
    """Binary classification of a pair and of its two hardest corruptions, in nats per query."""

    dim: int = at_least(1, about="dimensions of the encoder's vectors")
    hidden: int = at_least(1, 512, "units of the network's one hidden layer")

    def __post_init__(self) -> None:
        self.head = nn.Sequential(nn.Linear(4 * self.dim, self.hidden), nn.ReLU(), nn.Linear(self.hidden, 1))

    def match(self, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """(N,) log odds that each query belongs with the key of the same index."""
        u, v = wide(queries), wide(keys)
        of_length("matching", "dim", u, self.dim)
        odds: torch.Tensor = self.head(torch.cat([u, v, u * v, (u - v).abs()], dim=1))[:, 0]
        return odds

    def forward(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        pairs.require_negatives("Matching")
        if pairs.ring is not None:
            raise DataError(
                "Matching: hard negatives must be at hand, and a ring's rank holds its own columns only", remedy="gather instead"
            )
        offset, own = pairs.aligned_at("Matching"), pairs.own_rows

        def negatives(tile: Tile) -> torch.Tensor:
            return tile.fill_positive(tile.scores, -torch.inf)

        with torch.no_grad():
            hardest = reduce(negatives, pairs, rows=TopK("rows"), cols=TopK("cols"))
        worst_key, worst_query = hardest.rows.ids[:, 0], pairs.at_positive(hardest.cols.ids[:, 0])
        if bool(((worst_key < 0) | (worst_query < 0)).any()):
            raise DegenerateBatchError("Matching: some rows have no negative that counts", remedy="raise batch_size, or drop copies")
        queries, keys = one_tensor(pairs.queries, "matching"), one_tensor(pairs.keys, "matching")
        mine, theirs = queries[own], keys[own.start + offset : own.stop + offset]
        with torch.autocast(queries.device.type, enabled=False):
            right, first, second = (self.match(a, b) for a, b in ((mine, theirs), (mine, keys[worst_key]), (queries[worst_query], theirs)))
        return softplus(-right) + softplus(first) + softplus(second)
