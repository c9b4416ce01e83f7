"""DCL: InfoNCE with the positive taken out of the denominator.

    l_i = -s_ii / t + log sum_{j not positive} exp(s_ij / t)        one value per query, nats; may be negative

Shapes: N queries, M >= N keys, aligned. Source: arXiv:2110.06848, eq. 6; Pairs picks the candidates.
Relation: grad InfoNCE_i = (1 - P_ii) * grad DCL_i, P_ii the softmax probability of the positive.
Errors: DegenerateBatchError on a single key, and where a row's other keys are all copies of its positive.

>>> import torch
>>> from dipole import Pairs
>>> DCL(temperature=1.0)(Pairs.aligned(torch.eye(2), torch.eye(2)))
tensor([-1., -1.])
"""

from __future__ import annotations

import torch

from dipole.core.errors import DegenerateBatchError
from dipole.core.pairs import Pairs
from dipole.core.part import part, positive
from dipole.pairwise import logsumexp_negatives

__all__ = ["DCL"]


@part
class DCL:
    """Decoupled softmax, in nats per query."""

    temperature: float = positive(0.1, "scores are divided by it")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        return repulsion("DCL", pairs, self.temperature) - pairs.positive_scores() / self.temperature


def repulsion(loss: str, pairs: Pairs, temperature: float) -> torch.Tensor:
    """(N,) log sum of the negatives' exponentials; a row without any is refused."""
    pairs.require_negatives(loss)
    return require_repulsion(loss, logsumexp_negatives(pairs, temperature))


def require_repulsion(loss: str, repelled: torch.Tensor) -> torch.Tensor:
    """``repelled``. Raises DegenerateBatchError where a row has no negative, so that the loss is unbounded."""
    if bool((repelled == -torch.inf).any()):
        raise DegenerateBatchError(
            f"{loss}: some rows have no negative that counts, so the loss is unbounded",
            value=f"{int((repelled == -torch.inf).sum())} of {len(repelled)} rows",
            remedy="raise batch_size, or drop copies of one text",
        )
    return repelled
