"""Who votes for whom: a second item for each item that probably shares its class, by the whole and by its parts.

For an item with a label: any other of that label, by chance. For one without: its nearest j by the cosine of the pooled vectors, if the
parts agree: with L_ij = sum_k n_ik cos(f_ik, f_jk), n_i the unit vector of the lengths of i's parts, j is accepted where the ``rank``-th
largest of row i (itself counts) is no less than that of column j: where i has as close a companion as j has. Where none is accepted, the
item stays alone. Source: CPL, arXiv:2309.11132, section 3.2, with the bar of the authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import normalize


@dataclass(frozen=True, eq=False)
class Votes:
    """``partner`` (B,) int64, the item itself where there is none; ``accepted`` (B,) bool."""

    partner: torch.Tensor
    accepted: torch.Tensor


@torch.no_grad()
def votes(pooled: torch.Tensor, parts: torch.Tensor, labels: torch.Tensor, rank: int, chance: torch.Generator) -> Votes:
    """For (B, d) vectors with (B, P, d) parts and (B,) labels, negative: none. ``rank``: which largest L is the bar."""
    count = len(pooled)
    itself = torch.eye(count, dtype=torch.bool, device=pooled.device)
    drawn = torch.rand(count, count, generator=chance, dtype=torch.float64).to(pooled.device)
    same = (labels[:, None] == labels[None]) & (labels >= 0)[:, None] & ~itself
    told = torch.where(same, drawn, -1.0).argmax(1)
    unit = normalize(pooled, dim=1)
    nearest = (unit @ unit.T).masked_fill(itself, -torch.inf).argmax(1)
    lengths = normalize(parts.norm(dim=2), dim=1)
    local = torch.einsum("ik,ikd,jkd->ij", lengths, normalize(parts, dim=2), normalize(parts, dim=2))
    close, bar = (local.topk(min(rank, count), dim=axis).values.select(axis, -1) for axis in (1, 0))
    agreed = close >= bar[nearest]
    known = labels >= 0
    accepted = torch.where(known, same.any(1), agreed)
    partner = torch.where(known, told, nearest)
    return Votes(torch.where(accepted, partner, torch.arange(count, device=pooled.device)), accepted)
