"""MACL: the temperature follows how far the batch is aligned, and easy rows keep their whole gradient.

    l_i = sg(1 / (1 - P_ii)) * -log P_ii,   P_ij = softmax_j(s_ij / t),   t = t_0 (1 + a (A - A_0)),   A = sg(mean_i s_ii)

Shapes: N queries, M >= N keys, aligned; sg: no gradient; A is the mean over the whole batch; one value per query, nats.
Source: arXiv:2207.07874; the authors' code has the same form.
Relation: a = 0 has exactly DCL's gradient (the value differs): dl / ds_ii = -1 / t however easy the row. Value and gradient are
computed from log-sum-exps, so a row with P_ii = 1 is finite: its value is 1.
Errors: DegenerateBatchError on a single key, where a row has no negative that counts, and where t would not be above 0.

>>> import torch
>>> from dipole import Pairs
>>> MACL(temperature=1.0, growth=0.0)(Pairs.aligned(torch.ones(2, 2), torch.ones(2, 2)))
tensor([1.3863, 1.3863])
"""

from __future__ import annotations

import torch
from torch.nn.functional import softplus

from dipole.core.errors import DegenerateBatchError
from dipole.core.pairs import Pairs
from dipole.core.part import at_least, between, part, positive
from dipole.losses.softmax.dcl import repulsion

__all__ = ["MACL"]


@part
class MACL:
    """Softmax with an adaptive temperature and re-weighted rows, in nats per query."""

    temperature: float = positive(0.1, "t_0, the temperature at an alignment of A_0")
    growth: float = at_least(0.0, 0.5, "a, how much the temperature grows with alignment; 0: it stays")
    alignment: float = between(-1.0, 1.0, 0.0, "A_0, the mean score of positives at which the temperature is t_0")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        with torch.no_grad():
            now = float(pairs.all_positive_scores().mean())
        temperature = self.temperature * (1 + self.growth * (now - self.alignment))
        if not temperature > 0:
            raise DegenerateBatchError(
                "MACL: the adaptive temperature must stay above 0",
                value=temperature,
                remedy="lower growth, or use scores between -1 and 1 (cosines)",
            )
        behind = repulsion("MACL", pairs, temperature) - pairs.positive_scores() / temperature  # DCL at this temperature
        ahead = (-behind.detach()).clamp(max=30.0)  # beyond, (1 + e^x) softplus(-x) is 1
        return (1 + ahead.exp()) * softplus(-ahead) + behind - behind.detach()
