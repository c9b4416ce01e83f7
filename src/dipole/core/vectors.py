"""A side of a comparison: one (N, d) tensor, or a tuple of tensors with leading N (token vectors and their mask)."""

from __future__ import annotations

import torch

from dipole.core.errors import DataError

Vectors = torch.Tensor | tuple[torch.Tensor, ...]


def leading(vectors: Vectors) -> torch.Tensor:
    """The side's first tensor, which says how many items there are and where they live."""
    return vectors if isinstance(vectors, torch.Tensor) else vectors[0]


def side_length(vectors: Vectors) -> int:
    """How many items a side holds."""
    return len(leading(vectors))


def cut(vectors: Vectors, at: slice) -> Vectors:
    """The items of a slice."""
    return vectors[at] if isinstance(vectors, torch.Tensor) else tuple(v[at] for v in vectors)


def concatenate(first: Vectors, second: Vectors) -> Vectors:
    """One side after the other. Raises DataError where they are not of one form and size."""
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        if first.shape[1:] != second.shape[1:]:
            sizes = tuple(second.shape[1:]), tuple(first.shape[1:])
            raise DataError("with_negatives: negatives must have the keys' dimensions", value=sizes)
        return torch.cat([first, second])
    if isinstance(first, torch.Tensor) or isinstance(second, torch.Tensor) or len(first) != len(second):
        raise DataError("with_negatives: negatives must be of the keys' form, one tensor or as many")
    return tuple(torch.cat([a, b]) for a, b in zip(first, second, strict=True))


def wide(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in the precision statistics are kept in: float64 stays, everything else becomes float32."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def one_tensor(vectors: Vectors, score: str) -> torch.Tensor:
    """The (N, d) tensor of a side; token vectors and other tuples are refused by name."""
    if not isinstance(vectors, torch.Tensor) or vectors.dim() != 2:
        got = tuple(vectors.shape) if isinstance(vectors, torch.Tensor) else f"{len(vectors)} tensors"
        remedy = "for token vectors use a token score, for stacked views a loss for several views"
        raise DataError(f"score {score}: each side must be one (N, d) tensor, got {got}; {remedy}")
    return vectors


def of_length(part: str, parameter: str, vectors: torch.Tensor, length: int) -> None:
    """Refuse (N, d) vectors of another d than a part with weights of its own was made for."""
    if vectors.shape[1] != length:
        rule = f"{part}: was made for vectors of {length} dimensions"
        raise DataError(rule, value=vectors.shape[1], remedy=f"set {parameter} to the encoder's dimension")


def one_each(name: str, values: torch.Tensor, length: int) -> None:
    """Refuse metadata that is not one value an item."""
    if values.dim() != 1 or len(values) != length:
        raise DataError(f"{name} must be one value each, shape ({length},)", value=tuple(values.shape))
