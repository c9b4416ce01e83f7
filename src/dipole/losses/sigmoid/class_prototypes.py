"""Class prototypes: each item against every class, present or absent, by a sigmoid; the prototypes are learned.

    l_i = sum_c softplus(-z_ic (q_i . w_c + b_c)),   z_ic = 1 where class c is among the item's labels, -1 otherwise     nats per item

Shapes: N items, V classes, labels in ``rows["label"]``: (N,) one each, or (N, L) several, -1 for none. The keys are not read.
Source: arXiv:2404.15653 (CatLIP): labels are the words of the caption that are among the V most frequent; a multi-label classifier,
whose cost grows with the batch, not with its square.
Relation: siglip with classes in the place of keys and one bias a class. An item without any label is judged absent from all.
Errors: DataError for a label that is no class, and without labels.

>>> import torch
>>> from dipole import Pairs
>>> loss = ClassPrototypes(classes=4, dim=3)
>>> loss(Pairs.labelled(torch.zeros(2, 3), torch.tensor([1, 3]))).detach()  # vectors of 0: 4 log 2
tensor([2.7726, 2.7726])
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import softplus

from dipole.core.errors import DataError
from dipole.core.pairs import Pairs
from dipole.core.part import at_least, part, real
from dipole.core.relations import Listed
from dipole.core.requirements import metadata
from dipole.core.vectors import cut, of_length, one_tensor
from dipole.pairwise import Tile, sum_rows

__all__ = ["ClassPrototypes"]


@part
class ClassPrototypes(nn.Module):
    """Multi-label classification over V classes, in nats per item."""

    classes: int = at_least(1, about="V, how many classes there are")
    dim: int = at_least(1, about="dimensions of the encoder's vectors")
    bias: float = real(0.0, "where the learned biases start; the log odds of a label make a quick start")

    def __post_init__(self) -> None:
        self.weight = nn.Parameter(torch.randn(self.classes, self.dim) / self.dim**0.5)
        self.offset = nn.Parameter(torch.full((self.classes,), float(self.bias)))

    def forward(self, pairs: Pairs) -> torch.Tensor:
        """(N,) float32 or better."""
        labels = metadata("ClassPrototypes", "label", pairs.rows)
        if int(labels.max()) >= self.classes:
            raise DataError(f"ClassPrototypes: labels must be below classes, {self.classes}", value=int(labels.max()))
        vectors = pairs.queries if pairs.local is None else cut(pairs.queries, pairs.own_rows)
        of_length("class_prototypes", "dim", one_tensor(vectors, "class_prototypes"), self.dim)
        own = labels[pairs.own_rows].reshape(-1, labels.shape[1] if labels.dim() > 1 else 1)
        row, place = (own >= 0).nonzero(as_tuple=True)
        found = torch.unique(torch.stack([row, own[row, place]]), dim=1)  # a class that is named twice counts once
        present = Listed.of(found[0], found[1], torch.ones_like(found[0], dtype=torch.float32))
        items = Pairs(one_tensor(vectors, "class_prototypes"), self.weight, present, cols={"bias": self.offset})

        def mistakes(tile: Tile) -> torch.Tensor:
            logits = tile.scores + tile.cols["bias"]
            match = tile.positive_or_none
            return softplus(logits if match is None else torch.where(match, -logits, logits))

        return sum_rows(mistakes, items)
