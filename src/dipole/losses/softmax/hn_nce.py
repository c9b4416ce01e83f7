"""HN-NCE: InfoNCE whose negatives are weighted by their own hardness.

    l_i = -log( e^z_ii / (a e^z_ii + sum_{j not positive} w_ij e^z_ij) ),   w_ij = n_i softmax_j(b z_ij),   z = s / t

Shapes: N queries, M >= N keys, aligned; n_i negatives count in row i, and their weights sum to n_i; one value per query, nats.
Source: arXiv:2301.02280, which sums two directions; two-sided here is their mean. Gradients pass through the weights, as in
the reference (scenic, verbs_in_action).
Relation: a = 1, b = 0 is InfoNCE, a = 0, b = 0 DCL; larger b leaves the hardest negatives only. The weighted sum is
log n + lse((1 + b) z) - lse(b z), so weights are never stored.
Errors: DegenerateBatchError on a single key, and for a = 0 where a row has no negative that counts.

>>> import torch
>>> from dipole import Pairs
>>> HNNCE(temperature=1.0, hardness=0.0)(Pairs.aligned(torch.eye(2), torch.eye(2)))
tensor([0.3133, 0.3133])
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from dipole.core.pairs import Pairs
from dipole.core.part import at_least, between, part, positive, switch
from dipole.losses.softmax.dcl import require_repulsion
from dipole.pairwise import LogSumExp, Tile, reduce

__all__ = ["HNNCE"]


@part
class HNNCE:
    """Softmax with hardness-weighted negatives, in nats per query."""

    temperature: float = positive(0.07, "scores are divided by it")
    hardness: float = at_least(0.0, 0.25, "b; 0 weighs all negatives alike")
    positive_share: float = between(0.0, 1.0, 1.0, "a, how much of the positive stands in the denominator")
    two_sided: bool = switch(False, "average with the same loss in which keys ask for queries")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        pairs.require_negatives("HNNCE")
        positives = pairs.positive_scores() / self.temperature
        rows, cols = hard_repulsion(pairs, self.temperature, self.hardness, self.two_sided)
        values = [self._of(repelled, positives) for repelled in ([rows] if cols is None else [rows, pairs.at_positive(cols)])]
        return values[0] if cols is None else (values[0] + values[1]) / 2

    def _of(self, repelled: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
        if self.positive_share == 0:
            return require_repulsion("HNNCE", repelled) - positives
        share = positives + torch.log(torch.tensor(self.positive_share))
        return torch.logaddexp(share, repelled) - positives


def hard_repulsion(pairs: Pairs, temperature: float, hardness: float, two_sided: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Log of the hardness-weighted sum over negatives, per row and (two-sided) per column; -inf where there is none."""

    def terms(tile: Tile) -> Mapping[str, torch.Tensor]:
        hard = hardness * tile.scores / temperature
        parts = {"weighted": tile.logits(temperature) + hard, "weights": hard, "count": torch.zeros_like(hard)}
        return {name: tile.fill_positive(part, -torch.inf) for name, part in parts.items()}

    axes = ("rows", "cols") if two_sided else ("rows",)
    wanted: Any = {f"{axis} {name}": LogSumExp(axis, of=name) for axis in axes for name in ("weighted", "weights", "count")}
    stats = vars(reduce(terms, pairs, **wanted))
    found = []
    for axis in axes:
        some = stats[f"{axis} count"] != -torch.inf
        balance = stats[f"{axis} count"].detach() - stats[f"{axis} weights"]
        found.append(stats[f"{axis} weighted"] + balance.where(some, 0.0))
    return found[0], found[1] if two_sided else None
