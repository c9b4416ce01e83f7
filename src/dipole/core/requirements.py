"""What a loss asks of a batch beyond what ``Pairs`` itself checks."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dipole.core.errors import DataError, DegenerateBatchError
from dipole.core.pairs import Pairs


def require_positives(pairs: Pairs, loss: str) -> None:
    """Raise DegenerateBatchError where no row of the whole batch has a positive, so that all ranks raise or none."""
    everyone = pairs.positive.count(slice(0, pairs.shape[0]), pairs.shape[1])
    if not bool(everyone.any()):
        raise DegenerateBatchError(
            f"{loss}: no row of the batch has a positive, so there is nothing to attract",
            value=f"{pairs.shape[0]} rows",
            remedy="give items shared labels, draw several items a class, or raise batch_size",
        )


def metadata(part: str, name: str, of: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The metadata of that name. Raises DataError where rows or columns have none."""
    if name not in of:
        have = ", ".join(map(repr, of)) or "nothing"
        raise DataError(f"{part}: rows or columns lack {name!r}; they have {have}", column=name, remedy="let the view carry it")
    return of[name]
