"""Structure: the aligned vectors keep the neighbourhoods that the frozen encoder's own vectors have, each modality by itself.

    R = mean over sides and levels l = 1..L of (1/l if decaying) D(P^l, Q^l),   P = softmax_row(X X^T / t),  Q = softmax_row(Z Z^T / t)
    D = (1/B) sum_i [KL(P_i || M_i) + KL(Q_i || M_i)] / 2,   M = (P + Q) / 2,   P^l the l-step random walk

Shapes: Z (B, d) ``pooled``; X (B, D) ``meta["frozen"]``, what a frozen encoder said before the aligned layers. Rows are normalised and then
centred over the batch, as in the paper. One level is streamed, memory O(B); L > 1 holds B x B matrices and costs O(L B^3).
Source: arXiv:2506.16895, section 4 ("With Limited Data for Multimodal Alignment, Let the STRUCTURE Guide You"). The authors' code has
KL(M || .) in place of the paper's Jensen-Shannon divergence, here ``from_middle``.
Relation: distillation of a teacher's similarities with both directions of the divergence, to their middle.
Errors: DegenerateBatchError on a single item; DataError where the encoder returns no ``meta["frozen"]``.

>>> import torch
>>> from dipole.core.encoded import Encoded
>>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
>>> float(Structure().over_encoded({"queries": Encoded(x.flip(1), meta={"frozen": x})}).round(decimals=4))
0.0
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch.nn.functional import normalize

from dipole.core.encoded import Encoded
from dipole.core.pairs import Pairs
from dipole.core.part import at_least, part, positive, switch
from dipole.core.scores import Dot
from dipole.core.vectors import wide
from dipole.pairwise import Channel, LogSumExp, Sum, Tile, reduce
from dipole.regularizers.sides import meta_of, pooled_sides

__all__ = ["Structure"]
_FLOOR, _HALF = math.log(1e-12), math.log(0.5)


@part
class Structure:
    """Divergence between two row-softmax neighbourhoods."""

    temperature: float = positive(0.07, "t")
    levels: int = at_least(1, 1, "L, steps of the random walk")
    decaying: bool = switch(False, "weigh level l by 1 / l")
    from_middle: bool = switch(False, "KL(M || P) and KL(M || Q), 1e-12 added to each probability, as the authors' code has it")

    reads = ("pooled", "meta")

    def over_encoded(self, sides: Mapping[str, Encoded]) -> torch.Tensor:
        """Scalar, float32 or better."""
        aligned = pooled_sides(sides, "Structure")
        frozen = meta_of(sides, "Structure", "frozen")
        walk = self._streamed if self.levels == 1 else self._walked
        return torch.stack([walk(_centred(wide(x)), _centred(z)) for x, z in zip(frozen, aligned, strict=True)]).mean()

    def _streamed(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        pairs = Pairs.aligned(z, z)
        teacher = {"frozen": Channel(x, x, Dot())}

        def logits(tile: Tile) -> Mapping[str, torch.Tensor]:
            return {"q": tile.scores / self.temperature, "p": tile.channels["frozen"] / self.temperature}

        levels = reduce(logits, pairs, channels=teacher, q=LogSumExp("rows", of="q"), p=LogSumExp("rows", of="p"))

        def divergence(tile: Tile) -> torch.Tensor:
            terms = logits(tile)
            return self._entries(terms["p"] - tile.rows["p"], terms["q"] - tile.rows["q"])

        known = Pairs(z, z, pairs.positive, rows={"p": levels.p, "q": levels.q})
        total: torch.Tensor = reduce(divergence, known, channels=teacher, total=Sum("total")).total
        return total / len(z)

    def _walked(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        p, q = ((v @ v.T / self.temperature).softmax(1) for v in (x, z))
        found, p_l, q_l = [], p, q
        for level in range(1, self.levels + 1):
            tiny = torch.finfo(p.dtype).tiny
            entries = self._entries(p_l.clamp(min=tiny).log(), q_l.clamp(min=tiny).log())
            found.append(entries.sum() / len(z) / (level if self.decaying else 1))
            p_l, q_l = p_l @ p, q_l @ q
        return torch.stack(found).mean()

    def _entries(self, p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
        """What each entry adds to a row's divergence, from the logarithms of both probabilities."""
        middle = torch.logaddexp(p, q) + _HALF
        if self.from_middle:
            p, q, middle = (torch.logaddexp(x, x.new_tensor(_FLOOR)) for x in (p, q, middle))
            return middle.exp() * (middle - (p + q) / 2)
        return (p.exp() * (p - middle) + q.exp() * (q - middle)) / 2


def _centred(x: torch.Tensor) -> torch.Tensor:
    unit = normalize(x, dim=-1)
    return unit - unit.mean(0)
