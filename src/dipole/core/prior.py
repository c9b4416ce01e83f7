"""How often each class is, as what a softmax over classes adds to its logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dipole.core.errors import ParameterError


def log_prior(part: str, prior: Sequence[float], classes: int) -> torch.Tensor:
    """(C,) logarithms of the classes' shares, from counts or shares; none given: 0 for all.

    Raises ParameterError unless there is one for every class.

    >>> log_prior("cross_entropy", (3, 1), 2).exp()
    tensor([0.7500, 0.2500])
    """
    if not prior:
        return torch.zeros(classes)
    if len(prior) != classes:
        raise ParameterError(part, "prior", f"one number for each of {classes} classes", prior)
    counts = torch.tensor([float(p) for p in prior])
    return (counts / counts.sum()).log()
