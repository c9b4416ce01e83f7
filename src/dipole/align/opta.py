"""OpTA: prototypes of a few labelled items move to where the queries are, by optimal transport.

    p_i <- mix * sum_j (P_ij / sum_j P_ij) q_j + (1 - mix) * p_i       P: entropic plan, cost |p_i - q_j|^2 / its largest, uniform masses

Shapes: n prototypes and k queries of d dimensions, (n, d) and (k, d) -> (n, d). The queries are seen together (transductive), and are
assumed to hold every class alike. Source: BECLR, arXiv:2402.02444, section 4.3; there 5 passes for 1-shot, 1 pass and mix 0.7 for 5-shot.
Relation: one pass with mix 1 is the barycentric map of ``dipole.pairwise.transport.sinkhorn``.
Errors: DataError where sides differ in dimension or prototypes and queries all coincide.

>>> import torch
>>> OpTA()(torch.tensor([[0.0], [1.0]]), torch.tensor([[0.4], [0.6], [1.4], [1.6]])).round(decimals=2)
tensor([[0.5000],
        [1.5000]])
"""

from __future__ import annotations

import torch

from dipole.core.errors import DataError
from dipole.core.part import at_least, between, part, positive
from dipole.core.vectors import wide
from dipole.pairwise.transport import sinkhorn

__all__ = ["OpTA"]


@part
class OpTA:
    """Prototypes -> prototypes. No gradient."""

    epsilon: float = positive(0.05, "weight of the plan's entropy, in units of the largest cost")
    passes: int = at_least(1, 5, "how often the prototypes move")
    mix: float = between(0.0, 1.0, 1.0, "share of the new place; the rest stays where it was")
    iterations: int = at_least(1, 1000, "turns of a pass at most")
    tolerance: float = at_least(0.0, 1e-4, "a pass ends where potentials move by less")

    @torch.no_grad()
    def __call__(self, prototypes: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
        """(n, d) float32 or better."""
        if prototypes.dim() != 2 or queries.dim() != 2 or prototypes.shape[1] != queries.shape[1] or not len(queries):
            raise DataError(
                "OpTA: prototypes (n, d) and queries (k, d) must share d", value=(tuple(prototypes.shape), tuple(queries.shape))
            )
        moved, queries = wide(prototypes), wide(queries)
        for _ in range(self.passes):
            plan = self.plan(moved, queries)
            moved = self.mix * (plan / plan.sum(1, keepdim=True)) @ queries + (1 - self.mix) * moved
        return moved

    def plan(self, prototypes: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
        """(n, k) what goes from each prototype to each query, 1 in all."""
        cost = torch.cdist(prototypes, queries, compute_mode="donot_use_mm_for_euclid_dist").square()
        largest = cost.max()
        if not bool(largest > 0):
            raise DataError("OpTA: prototypes and queries all coincide, so there is nothing to tell apart", value=tuple(cost.shape))
        return sinkhorn(cost / largest, self.epsilon, iterations=self.iterations, tolerance=self.tolerance)
