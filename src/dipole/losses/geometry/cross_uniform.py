"""Cross-uniform: items of one side are spread away from the other side's items they do not belong to.

    l_i = U,   U = log mean_{(i, j) not positive} exp(-t |q_i - k_j|^2)          one number for the whole batch, on every row

Shapes: N queries, M keys of unit length (the loss does not normalise), any positives; further keys are spread too. Source: "It's Not a
Modality Gap" (arXiv:2405.18570), the cross-modal uniformity of CUAXU; U is added to each row, so the mean over rows is the paper's term.
Values: 0 where all vectors coincide, -2t where unpaired ones are orthogonal. Relation: ``align_uniform`` spreads each side within itself.
Errors: DegenerateBatchError where every entry is a positive.

>>> import torch
>>> from dipole import Pairs
>>> line = torch.tensor([[1.0], [-1.0]])
>>> CrossUniform()(Pairs.aligned(line, line))
tensor([-8., -8.])
"""

from __future__ import annotations

from dataclasses import replace

import torch

from dipole.core.errors import DegenerateBatchError
from dipole.core.pairs import Pairs
from dipole.core.part import part, positive
from dipole.pairwise import Tile, logmeanexp_total
from dipole.pairwise.scores.neg_squared_distance import NegSquaredDistance

__all__ = ["CrossUniform"]


@part
class CrossUniform:
    """Uniformity across two sides, positives left out."""

    sharpness: float = positive(2.0, "t of the Gaussian potential")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""

        def potential(tile: Tile) -> torch.Tensor:
            return self.sharpness * tile.scores

        unpaired = replace(pairs, score=NegSquaredDistance(), excluded=(*pairs.excluded, pairs.positive))
        spread = logmeanexp_total(potential, unpaired)
        if not bool(spread.isfinite()):
            raise DegenerateBatchError(
                "CrossUniform: every entry is a positive, so there is nothing to spread", value=pairs.shape, remedy="raise batch_size"
            )
        return spread.expand(pairs.own_rows.stop - pairs.own_rows.start)
