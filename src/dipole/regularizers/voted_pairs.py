"""Voted pairs: an item and the one that votes make its companion should be predicted as one class, whichever.

    R = eta_pair mean_i -log <p_i, p_v(i)> + eta_soft mean_{u} w_u CE(q_u, p_u)      nats

p = softmax(logits); v(i) by ``voting``: the same label, or the nearest neighbour where its parts agree; q_u = softmax(logits_u + Gumbel
noise), a constant; w_u = p_u[argmax q_u] where v was accepted, else 0; u runs over the items without a label.
Shapes: ``logits`` (B, C), ``pooled`` (B, d), ``tokens`` (B, P, d) the parts, ``meta["label"]`` (B,), negative: none; each side by itself,
then the mean. Source: CPL, arXiv:2309.11132, eqs. of L_glv and L_csp; weights 0.5 there. Noise is the same on all processes.
Relation: ``cross_entropy`` beside it for the labelled, ``mean_entropy`` against one class for all; ``pairwise_bce`` takes given pairs.
Probabilities below 1e-7 count as 1e-7. Errors: DataError where the encoder returns no logits or no tokens, or there are no labels;
DegenerateBatchError on a single item.

>>> import torch
>>> from dipole.core.encoded import Encoded
>>> one = Encoded(torch.eye(2), torch.ones(2, 1, 2), logits=99 * torch.eye(2)[[0, 0]], meta={"label": torch.tensor([0, 0])})
>>> VotedPairs().over_encoded({"queries": one})  # both surely of the class both are told to share
tensor(0.)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from dipole.core.chance import Chance
from dipole.core.encoded import Encoded
from dipole.core.errors import DataError
from dipole.core.part import at_least, part, positive
from dipole.core.vectors import wide
from dipole.regularizers.sides import logits_of, meta_of, pooled_sides
from dipole.regularizers.voting import votes

__all__ = ["VotedPairs"]
_LEAST = 1e-7


@part
class VotedPairs(nn.Module):
    """Agreement with voted companions, and soft pseudo-labels weighted by confidence."""

    pair: float = at_least(0.0, 0.5, "eta_pair: weight of the agreement")
    soft: float = at_least(0.0, 0.5, "eta_soft: weight of the pseudo-labels")
    temperature: float = positive(1.0, "logits and noise are divided by it for the pseudo-labels")
    rank: int = at_least(1, 2, "which largest similarity of parts is the bar; an item is its own largest")

    reads = ("pooled", "tokens", "logits", "meta")

    def __post_init__(self) -> None:
        self.chance = Chance()

    def over_encoded(self, sides: Mapping[str, Encoded]) -> torch.Tensor:
        """Scalar, float32 or better."""
        pooled, logits = pooled_sides(sides, "VotedPairs"), logits_of(sides, "VotedPairs")
        labels = meta_of(sides, "VotedPairs", "label")
        parts = [self._parts(sides[name]) for name in ("queries", "keys") if name in sides]
        return torch.stack([self._of(*side) for side in zip(pooled, logits, labels, parts, strict=True)]).mean()

    def _parts(self, side: Encoded) -> torch.Tensor:
        if side.tokens is None:
            raise DataError("VotedPairs: reads tokens, the parts of an item, but the encoder returns none")
        return wide(side.tokens) if side.mask is None else wide(side.tokens) * side.mask[..., None]

    def _of(self, pooled: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, parts: torch.Tensor) -> torch.Tensor:
        chance = self.chance.next()
        found = votes(pooled, parts, labels, self.rank, chance)
        p = logits.softmax(1)
        agree = -(p * p[found.partner]).sum(1).clamp(min=_LEAST).log().mean()
        even = torch.rand(logits.shape, generator=chance, dtype=torch.float64).clamp(1e-12, 1 - 1e-12)
        with torch.no_grad():
            noise = -(-even.log()).log()
            soft = ((logits + noise.to(logits)) / self.temperature).softmax(1)
            sure = p.gather(1, soft.argmax(1, keepdim=True))[:, 0] * found.accepted
        free = labels < 0
        if not bool(free.any()):
            return self.pair * agree
        taught = (sure * nn.functional.cross_entropy(logits, soft, reduction="none"))[free].mean()
        return self.pair * agree + self.soft * taught
