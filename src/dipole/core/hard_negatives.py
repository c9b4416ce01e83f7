"""Mined negatives as further columns of pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from dipole.core.pairs import Pairs
from dipole.core.relations import Match
from dipole.core.vectors import Vectors


def with_hard_negatives(pairs: Pairs, negatives: Vectors, meta: Mapping[str, torch.Tensor], share: bool) -> Pairs:
    """Append mined negatives; a row never sees one that is a copy of its own positive (equal ``keys.id``). ``cols["owner"]``: the row
    each column belongs to. ``share``: every row sees those of all rows, else only its own."""
    owner = meta["negatives.owner"]
    known = replace(pairs, cols={**pairs.cols, "owner": torch.arange(pairs.shape[1], device=owner.device)})
    wider = known.with_negatives(negatives, torch.full_like(owner, -1) if share else owner, cols={"owner": owner})
    none = torch.full((pairs.shape[1],), -1, device=owner.device)
    copies = Match(meta["keys.id"], torch.cat([none, meta["negatives.id"]]))
    return replace(wider, duplicates=(*wider.duplicates, copies))
