"""Classifier: cross-entropy of a cosine classifier learned beside the encoder, with the class prior and a margin if asked for.

    R = mean_i -log softmax_c( cos(x_i, w_c) / t + log pi_c + m [c = y_i] )_{y_i}         nats, over the labelled items of all sides

Shapes: (B, d) pooled vectors, ``meta["label"]`` (B,) from 0 to C - 1, negative: no label, and left out. Source: logit adjustment,
arXiv:2007.07314, eq. 10 (the prior in training, none in use); the margin with its sign as in CPL, arXiv:2309.11132: a positive m
raises the true logit and makes the target easier, a negative one is CosFace's.
Errors: ParameterError where ``prior`` has another length than ``classes``; DataError for labels out of range or missing;
DegenerateBatchError where no item has a label.

>>> import torch
>>> from dipole.core.encoded import Encoded
>>> term = Classifier(classes=2, dimension=2, temperature=1.0)
>>> term.weight.data = torch.eye(2)
>>> term.over_encoded({"queries": Encoded(torch.eye(2), meta={"label": torch.tensor([0, 1])})}).detach()
tensor(0.3133)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize, one_hot

from dipole.core.encoded import Encoded
from dipole.core.errors import DataError, DegenerateBatchError
from dipole.core.part import at_least, numbers, part, positive, real
from dipole.core.prior import log_prior
from dipole.core.vectors import wide
from dipole.regularizers.sides import meta_of, pooled_sides

__all__ = ["Classifier"]


@part
class Classifier(nn.Module):
    """One learned direction a class."""

    classes: int = at_least(2, about="C")
    dimension: int = at_least(1, about="d, the encoder's")
    temperature: float = positive(1 / 30, "cosines are divided by it")
    prior: tuple[float, ...] = numbers(about="pi: how often each class is, as counts or shares; left out: all alike")
    margin: float = real(0.0, "added to the true logit")

    reads = ("pooled",)

    def __post_init__(self) -> None:
        self.weight = nn.Parameter(nn.init.normal_(torch.empty(self.classes, self.dimension), std=self.dimension**-0.5))
        self.register_buffer("log_prior", log_prior("classifier", self.prior, self.classes), persistent=False)

    def over_encoded(self, sides: Mapping[str, Encoded]) -> torch.Tensor:
        """Scalar, float32 or better."""
        x, labels = torch.cat(pooled_sides(sides, "Classifier", 1)), torch.cat(meta_of(sides, "Classifier", "label"))
        if int(labels.max()) >= self.classes:
            raise DataError(f"Classifier: labels must be below classes, {self.classes}", value=int(labels.max()))
        known = labels >= 0
        if not bool(known.any()):
            raise DegenerateBatchError("Classifier: no item of the batch has a label", value=len(labels), remedy="raise batch_size")
        x, labels = x[known], labels[known]
        logits = normalize(x, dim=-1) @ normalize(wide(self.weight), dim=-1).T / self.temperature + self.get_buffer("log_prior")
        return cross_entropy(logits + self.margin * one_hot(labels, self.classes), labels)
