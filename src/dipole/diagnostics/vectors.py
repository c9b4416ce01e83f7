"""What every diagnostic asks of its vectors: one (N, d) tensor of finite numbers, and unit length where directions are compared."""

from __future__ import annotations

import torch

from dipole.core.errors import DataError
from dipole.core.vectors import wide

BLOCK = 65536  # rows that are copied at once


def matrix(name: str, x: torch.Tensor, least: int = 2) -> torch.Tensor:
    """(N, d) in float32 or better, without a gradient.

    Raises DataError for another shape, for fewer than ``least`` vectors, and for NaN or infinity, with the first such row.
    """
    if not isinstance(x, torch.Tensor) or x.dim() != 2 or not x.is_floating_point():
        got = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, torch.Tensor) else type(x).__name__
        raise DataError(f"{name}: vectors must be one (N, d) tensor of floating-point numbers", value=got)
    if len(x) < least or x.shape[1] == 0:
        raise DataError(f"{name}: needs at least {least} vectors of at least one number", value=tuple(x.shape))
    x = wide(x.detach())
    finite = torch.cat([torch.isfinite(block).all(1) for block in x.split(BLOCK)])
    if not bool(finite.all()):
        broken = (~finite).nonzero().flatten()
        rule = f"{name}: vectors must be finite, but {len(broken)} of {len(x)} hold NaN or infinity, first row {int(broken[0])}"
        raise DataError(rule, remedy="leave these rows out, or look for what broke the model")
    return x


def unit(name: str, x: torch.Tensor, least: int = 2) -> torch.Tensor:
    """The vectors at length 1. Raises DataError as :func:`matrix` does, and for vectors of length 0, with the first row."""
    x = matrix(name, x, least)
    length = x.norm(dim=1, keepdim=True)
    zero = (length == 0).flatten()
    if bool(zero.any()):
        rows = zero.nonzero().flatten()
        rule = f"{name}: a vector of length 0 has no direction, but {len(rows)} of {len(x)} are, first row {int(rows[0])}"
        raise DataError(rule, remedy="leave these rows out; they are often empty items")
    directions: torch.Tensor = x / length
    return directions


def same_number(name: str, x: torch.Tensor, y: torch.Tensor) -> None:
    """Refuse two sides of different numbers of vectors. Raises DataError."""
    if len(x) != len(y):
        raise DataError(f"{name}: row i of one side belongs to row i of the other, so both must have as many", value=(len(x), len(y)))


def same_dimension(name: str, x: torch.Tensor, y: torch.Tensor) -> None:
    """Refuse two sides whose vectors differ in length. Raises DataError."""
    if x.shape[1] != y.shape[1]:
        raise DataError(f"{name}: both sides must have vectors of one dimension", value=(x.shape[1], y.shape[1]))


def sides(name: str, x: torch.Tensor, y: torch.Tensor, least: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Both halves of N pairs at length 1. Raises DataError as :func:`unit` does, and where they differ in number or dimension."""
    x, y = unit(name, x, least), unit(name, y, least)
    same_number(name, x, y)
    same_dimension(name, x, y)
    return x, y


def classes(name: str, labels: torch.Tensor, length: int, least: int = 1) -> torch.Tensor:
    """Labels as (N,) int64 from 0 to K - 1, in the order of their values.

    Raises DataError where they are not one whole number a vector, or of fewer than ``least`` classes.
    """
    whole = isinstance(labels, torch.Tensor) and not labels.is_floating_point() and not labels.is_complex()
    if not whole or labels.dim() != 1 or len(labels) != length:
        got = f"{labels.dtype} of shape {tuple(labels.shape)}" if isinstance(labels, torch.Tensor) else type(labels).__name__
        raise DataError(f"{name}: labels must be one whole number a vector, shape ({length},)", value=got)
    found: torch.Tensor
    of: torch.Tensor
    found, of = labels.unique(return_inverse=True)
    if len(found) < least:
        raise DataError(f"{name}: needs vectors of at least {least} classes", value=f"{len(found)}: {found.tolist()}")
    return of
