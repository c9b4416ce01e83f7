"""Cross-entropy: the encoder's logits against labels, with the class prior and a margin if asked for.

    R = mean_i -log softmax_c( z_ic + log pi_c + m [c = y_i] )_{y_i}          nats, over the labelled items of all sides

Shapes: ``logits`` (B, C), ``meta["label"]`` (B,) from 0 to C - 1, negative: no label, and left out. Source: logit adjustment,
arXiv:2007.07314, eq. 10 (the prior in training, none in use); the margin with its sign as in CPL, arXiv:2309.11132: a positive m
raises the true logit and makes the target easier, a negative one is CosFace's, in units of the logits.
Relation: ``encoders/classified`` puts logits on any encoder; ``mean_entropy`` beside it where some classes have no labels.
Errors: ParameterError where ``prior`` has another length than the logits; DataError for labels out of range or missing;
DegenerateBatchError where no item has a label.

>>> import torch
>>> from dipole.core.encoded import Encoded
>>> CrossEntropy().over_encoded({"queries": Encoded(torch.eye(2), logits=torch.eye(2), meta={"label": torch.tensor([0, 1])})})
tensor(0.3133)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn.functional import cross_entropy, one_hot

from dipole.core.encoded import Encoded
from dipole.core.errors import DataError, DegenerateBatchError
from dipole.core.part import numbers, part, real
from dipole.core.prior import log_prior
from dipole.regularizers.sides import logits_of, meta_of

__all__ = ["CrossEntropy"]


@part
class CrossEntropy:
    """Classification of the labelled items."""

    prior: tuple[float, ...] = numbers(about="pi: how often each class is, as counts or shares; left out: all alike")
    margin: float = real(0.0, "added to the true logit")

    reads = ("logits",)

    def over_encoded(self, sides: Mapping[str, Encoded]) -> torch.Tensor:
        """Scalar, float32 or better."""
        logits, labels = torch.cat(logits_of(sides, "CrossEntropy", 1)), torch.cat(meta_of(sides, "CrossEntropy", "label"))
        classes = logits.shape[1]
        if int(labels.max()) >= classes:
            raise DataError(f"CrossEntropy: labels must be below the number of logits, {classes}", value=int(labels.max()))
        known = labels >= 0
        if not bool(known.any()):
            raise DegenerateBatchError("CrossEntropy: no item of the batch has a label", value=len(labels), remedy="raise batch_size")
        logits, labels = logits[known] + log_prior("cross_entropy", self.prior, classes).to(logits), labels[known]
        return cross_entropy(logits + self.margin * one_hot(labels, classes), labels)
