"""Fine-grained: every word of a caption finds its patches of the image, and is told from the caption's other words by them.

    a_lp = g_lp / sum_r g_lr,   g_lp = h_lp [h_lp >= 1/P],   h_lp = (s_lp - min_r s_lr) / (max_r s_lr - min_r s_lr),   s_lp = t_l . v_p
    R = -mean_i mean_l 1/2 [ log softmax_k( cos(c_l, t_k) / tau )_l + log softmax_k( cos(t_l, c_k) / tau )_l ],   c_l = sum_p a_lp v_p

Shapes: patches v (B, P, d) and words t (B, L, d), ``tokens`` and ``mask`` of the two sides; P and L are an item's own, softmaxes are
among the words of one caption; nats. tau is learned as log(1 / tau) from its start. Memory O(B L (L + P)). Source: SPARC,
arXiv:2401.09865; its pseudo-code takes the mean over all words of the batch, its equations, as here, first over a caption's.
Relation: the local half of SPARC, beside InfoNCE on whole items; ``max_sim`` compares tokens across items, this within one.
Where all patches are alike to a word it is given all of them, which the paper leaves 0 / 0. A caption of one word is worth 0.
Errors: DataError without tokens or where their lengths d differ; DegenerateBatchError where no item has both words and patches.

>>> from dipole.core.encoded import Encoded
>>> one, all_there = torch.eye(2)[None], torch.ones(1, 2, dtype=torch.bool)
>>> sides = {"queries": Encoded(one[:, 0], one, all_there), "keys": Encoded(one[:, 0], one, all_there)}
>>> FineGrained(temperature=1.0).over_encoded(sides).detach()
tensor(0.3133)
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.functional import normalize

from dipole.core.encoded import Encoded
from dipole.core.errors import DataError, DegenerateBatchError
from dipole.core.part import choice, part, positive
from dipole.regularizers.sides import tokens_of

__all__ = ["FineGrained"]


@part
class FineGrained(nn.Module):
    """Contrast between the words of a caption, each seen in its patches."""

    temperature: float = positive(0.07, "where the learned temperature starts")
    image: str = choice(("queries", "keys"), "queries", "the side of the patches; the other one has the words")

    reads = ("tokens", "mask")

    def __post_init__(self) -> None:
        self.log_scale = nn.Parameter(torch.tensor(-math.log(self.temperature)))

    def over_encoded(self, sides: Mapping[str, Encoded]) -> torch.Tensor:
        """Scalar, float32 or better."""
        patches, there = tokens_of(sides, self.image, "FineGrained")
        words, said = tokens_of(sides, "keys" if self.image == "queries" else "queries", "FineGrained")
        if patches.shape[::2] != words.shape[::2]:
            raise DataError(
                "FineGrained: patches and words must be of as many items and of one length",
                value=(tuple(patches.shape), tuple(words.shape)),
                remedy="give both towers and what joins them one dimension",
            )
        seen = grouping(words, patches, there) @ patches
        logits = normalize(seen, dim=-1) @ normalize(words, dim=-1).mT * self.log_scale.exp()
        held = said & there.any(1, keepdim=True)
        if not bool(held.any()):
            raise DegenerateBatchError("FineGrained: no item of the batch has both words and patches", value=len(words))
        logits = logits.masked_fill(~(held[:, :, None] & held[:, None, :]), -torch.inf)
        logits = logits.masked_fill((~held)[:, :, None] & (~held)[:, None, :], 0.0)  # of words that are not there, and not counted
        right = logits.diagonal(dim1=1, dim2=2)
        each = ((logits.logsumexp(2) + logits.logsumexp(1)) / 2 - right).where(held, 0.0)
        count = held.sum(1)
        return (each.sum(1) / count.clamp(min=1)).sum() / (count > 0).sum()


def grouping(words: torch.Tensor, patches: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """(B, L, P): the share of each patch in what a word sees, 0 for patches that are not ``there`` (B, P); rows sum to 1."""
    there = there[:, None]
    scores = words @ patches.mT
    low = scores.masked_fill(~there, torch.inf).amin(-1, keepdim=True)
    span = scores.masked_fill(~there, -torch.inf).amax(-1, keepdim=True) - low
    apart = span > 0  # not so where all are alike, and where there is no patch
    least = 1 / there.sum(-1, keepdim=True).clamp(min=1)
    height = (scores - low).where(apart & there, 0.0) / span.where(apart, 1.0)
    height = torch.where(apart, height.where(height >= least, 0.0), there.to(height.dtype))
    return height / height.sum(-1, keepdim=True).clamp(min=torch.finfo(height.dtype).tiny)
