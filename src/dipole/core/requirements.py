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
    """The metadata of that name. Raises DataError where rows or columns have none, or hold numbers that are not finite."""
    if name not in of:
        have = ", ".join(map(repr, of)) or "nothing"
        raise DataError(f"{part}: rows or columns lack {name!r}; they have {have}", column=name, remedy="let the view carry it")
    return finite(part, name, of[name])


def finite(part: str, name: str, numbers: torch.Tensor) -> torch.Tensor:
    """The numbers themselves. Raises DataError where one is NaN or infinite: a sort or a mean would hide it."""
    if numbers.is_floating_point() and not bool(numbers.isfinite().all()):
        bad = numbers[~numbers.isfinite()]
        raise DataError(f"{part}: {name} must be finite numbers", column=name, value=float(bad[0]), remedy="correct the data")
    return numbers


def require_grades(pairs: Pairs, loss: str) -> torch.Tensor:
    """(N,) the grades of the whole batch's rows, ``rows["score"]``.

    Raises DataError where there are none or they are not finite, and DegenerateBatchError where all are equal, so that there is
    no order to learn.
    """
    if "score" not in pairs.rows:
        raise DataError(f"{loss}: each pair needs a grade, rows['score']", remedy="use views = scored, and a column score")
    grades = finite(loss, "score", pairs.rows["score"])
    if bool((grades == grades[0]).all()):
        remedy = "raise batch_size, or draw pairs of different grades"
        raise DegenerateBatchError(f"{loss}: all grades of the batch are equal", value=float(grades[0]), remedy=remedy)
    return grades


def require_both(loss: str, name: str, rows: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """(N,) bool: the metadata of that name. Raises DegenerateBatchError where the whole batch is all true or all false."""
    found = metadata(loss, name, rows).bool()
    if bool(found.all()) or not bool(found.any()):
        raise DegenerateBatchError(f"{loss}: a batch must hold rows with {name} and rows without", remedy="draw both into a batch")
    return found
