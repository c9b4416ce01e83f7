"""Matched: a set of predictions and a set of targets an item, paired so that they agree best; a loss over pairs on what was paired.

    s_i = the injection of the smaller set into the larger with the largest sum of cos(p_ia, o_is(a))      R = mean over pairs of loss

Shapes: predictions p (B, Q, d), all of which count, targets o (B, n, d) with their mask (B, n): ``tokens`` of the queries, or tensors in
their ``meta`` by name, ``objects`` and ``objects_mask``; min(Q, n) pairs an item, n its own. The loss sees the unit vectors of all pairs
of the batch, so that the pairs of other items are negatives too; gradients reach both sides, the matching itself has none.
Source: Hungarian matching of sets, DETR, arXiv:2005.12872, eq. 1, there by class and box; with InfoNCE both ways: MutDet,
arXiv:2407.09920. Relation: InfoNCE between vectors that come in pairs needs no matching. Needs scipy; its time is O(Q n^2) an item.
Errors: DataError where a tensor is missing or lengths differ; DegenerateBatchError where no item has a target, and as the loss raises it.

>>> from dipole.core.encoded import Encoded
>>> from dipole.losses import InfoNCE
>>> found = torch.eye(3)[None]
>>> wanted = {"objects": found[:, [2, 0]], "objects_mask": torch.ones(1, 2, dtype=torch.bool)}
>>> Matched(InfoNCE(temperature=1.0)).over_encoded({"queries": Encoded(found.mean(1), found, meta=wanted)})
tensor(0.3133)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.functional import normalize

from dipole.core.encoded import Encoded
from dipole.core.errors import DataError, DegenerateBatchError
from dipole.core.extras import need
from dipole.core.pairs import Pairs
from dipole.core.part import inner, part, words
from dipole.core.protocols import PairLoss
from dipole.core.vectors import wide

__all__ = ["Matched", "matching"]


@part
class Matched(nn.Module):
    """A loss over pairs, of predictions and targets that were matched."""

    loss: PairLoss = inner("losses", about="the loss of the pairs")
    predictions: str = words("tokens", "tokens, or what the encoder names them")
    targets: str = words("objects", "what the encoder names them; the mask is named so with _mask behind")

    reads = ("tokens", "meta")

    def over_encoded(self, sides: Mapping[str, Encoded]) -> torch.Tensor:
        """Scalar, float32 or better."""
        side = sides["queries"]
        found, wanted, mask = (self._tensor(side, name) for name in (self.predictions, self.targets, f"{self.targets}_mask"))
        if found.dim() != 3 or wanted.dim() != 3 or found.shape[::2] != wanted.shape[::2] or mask.shape != wanted.shape[:2]:
            shapes = [tuple(t.shape) for t in (found, wanted, mask)]
            raise DataError("Matched: needs predictions (B, Q, d), targets (B, n, d) and their mask (B, n)", value=shapes)
        found, wanted = normalize(wide(found), dim=-1), normalize(wide(wanted), dim=-1)
        item, prediction, target = matching(found, wanted, mask)
        if not len(item):
            raise DegenerateBatchError("Matched: no item of the batch has a target", value=len(side), remedy="raise batch_size")
        return self.loss(Pairs.aligned(found[item, prediction], wanted[item, target])).mean()

    def _tensor(self, side: Encoded, name: str) -> torch.Tensor:
        value = side.tokens if name == "tokens" else side.meta.get(name)
        if value is None:
            known = ", ".join(sorted(side.meta)) or "nothing"
            remedy = "use an encoder that gives it, such as image.detector, and items that have objects"
            raise DataError(f"Matched: reads {name} of the queries, but there is {known}", remedy=remedy)
        return value


@torch.no_grad()
def matching(found: torch.Tensor, wanted: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(P,) each: of every pair its item, its prediction and its target, items in order. Vectors (B, Q, d) and (B, n, d), unit length."""
    assign = need("scipy.optimize", "regularizers", "matching sets").linear_sum_assignment
    scores = (found @ wanted.mT).nan_to_num().cpu()  # a vector that is not finite shall be found by its loss, not here
    places: list[list[torch.Tensor]] = []
    for number, (score, held) in enumerate(zip(scores, mask.cpu(), strict=True)):
        targets = held.nonzero()[:, 0]
        rows, cols = map(torch.from_numpy, assign(score[:, targets].numpy(), maximize=True))
        places.append([torch.full_like(rows, number), rows, targets[cols]])
    item, prediction, target = (torch.cat(column).to(found.device) for column in zip(*places, strict=True))
    return item, prediction, target
