"""ProtoNCE: an item is told which prototype is its cluster's, each prototype with a temperature of its own.

    l_i = -s_ik / phi_k + log sum_j exp(s_ij / phi_j)      k: the prototype of i's cluster; one value per query, nats

Shapes: N items against M prototypes (``Pairs.labelled(items, clusters, centroids, numbers)``), one positive a row;
``cols["concentration"]`` (M,) phi, from ``concentration``; without it every phi is ``temperature``.
Source: PCL, arXiv:2005.04966, eq. 11; MEOW, "Heterogeneous Graph Contrastive Learning with Meta-path Contexts" (2022), adds log(N / M),
which moves nothing. Relation: SupCon against prototypes; with one phi, InfoNCE.
Rows without a prototype have value 0 and no gradient. Errors: DegenerateBatchError where no row has one, DataError for a phi not above 0.

>>> import torch
>>> from dipole import Pairs
>>> ProtoNCE(temperature=1.0)(Pairs.labelled(torch.eye(2), torch.tensor([0, 1]), torch.eye(2), torch.arange(2)))
tensor([0.3133, 0.3133])
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dipole.core.errors import DataError
from dipole.core.pairs import Pairs
from dipole.core.part import part, positive
from dipole.core.requirements import require_positives
from dipole.pairwise import LogSumExp, Sum, Tile, reduce

__all__ = ["ProtoNCE"]


@part
class ProtoNCE:
    """Softmax over prototypes, in nats per item."""

    temperature: float = positive(0.1, "phi of every prototype, where the pairs do not say")

    def __call__(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        require_positives(pairs, "ProtoNCE")
        count = pairs.positives_per_row()
        known = "concentration" in pairs.cols
        if known and not bool((pairs.cols["concentration"] > 0).all()):
            raise DataError("ProtoNCE: concentrations must be above 0", value=float(pairs.cols["concentration"].min()))

        def terms(tile: Tile) -> Mapping[str, torch.Tensor]:
            logits = tile.logits(tile.cols["concentration"] if known else self.temperature)
            return {"logits": logits, "own": tile.only_positive(logits)}

        stats = reduce(terms, pairs, every=LogSumExp("rows", of="logits"), own=Sum("rows", of="own"))
        return torch.where(count > 0, stats.every - stats.own / count.clamp(min=1), 0.0)


@torch.no_grad()
def concentration(scores: torch.Tensor, clusters: torch.Tensor, count: int, temperature: float = 0.1, smooth: float = 10.0) -> torch.Tensor:
    """(M,) phi of every prototype: dense clusters get a small one, so that they are not drawn together further (PCL, eq. 12).

        phi_k = mean over its members of sqrt(score) / log(n_k + smooth), kept between its 10th and 90th percentile, then rescaled to
        the mean ``temperature``

    ``scores`` (N,) the squared distance of each item to its own prototype; ``clusters`` (N,) from 0 to ``count`` - 1. Clusters of one
    item take the largest phi. Raises DataError where every cluster holds at most one item.
    """
    sizes = torch.bincount(clusters, minlength=count)
    roots = scores.new_zeros(count).index_add_(0, clusters, scores.clamp(min=0).sqrt())
    dense = sizes > 1
    if not bool(dense.any()):
        raise DataError("concentration: every cluster holds at most one item", value=f"{count} clusters", remedy="ask for fewer clusters")
    phi = roots / sizes.clamp(min=1) / (sizes + smooth).log()
    phi = torch.where(dense, phi, phi[dense].max())
    phi = phi.clamp(phi.quantile(0.1), phi.quantile(0.9))
    if not bool(phi.mean() > 0):
        return torch.full_like(phi, temperature)
    return temperature * phi / phi.mean()
