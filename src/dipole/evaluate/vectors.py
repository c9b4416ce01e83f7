"""From items to vectors of unit length, checked and counted, for one evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from dipole.core.errors import DataError

# Items -> (N, d), a tensor or an array. What the items are (texts, images, sounds) is the encoder's business.
Encode = Callable[[Sequence[Any]], Any]


class Sides:
    """The two sides of an evaluation as unit vectors, and what was odd about them.

    ``encode_keys`` where documents, descriptions or translations need another encoder, or another prompt, than queries.
    Equal texts are encoded once, so they have equal vectors. ``counts`` and ``notes`` go into the result.
    """

    def __init__(self, encode: Encode, encode_keys: Encode | None = None) -> None:
        self._encode = (encode, encode_keys or encode)
        self._one = encode_keys is None
        self._width: dict[str, int] = {}
        self.counts = {"zero_vectors": 0}
        self.notes: tuple[str, ...] = ()

    def queries(self, items: Sequence[Any], what: str = "items") -> torch.Tensor:
        """(N, d) float32 of unit length; a zero vector stays zero and is counted. Errors: see :meth:`keys`."""
        return self._unit(0, items, what)

    def keys(self, items: Sequence[Any], what: str = "items") -> torch.Tensor:
        """The same for the other side.

        Raises DataError for vectors that are not finite, not one per item, all zero, or of another length than before.
        """
        return self._unit(1, items, what)

    def both(self, first: Sequence[Any], second: Sequence[Any], what: str = "items") -> tuple[torch.Tensor, torch.Tensor]:
        """Queries and keys; one call of the encoder where the sides share it."""
        if not self._one:
            return self.queries(first, f"first {what}"), self.keys(second, f"second {what}")
        vectors = self.queries([*first, *second], what)
        return vectors[: len(first)], vectors[len(first) :]

    def _unit(self, side: int, items: Sequence[Any], what: str) -> torch.Tensor:
        if not len(items):
            raise DataError(f"there are no {what} to encode")
        texts = all(isinstance(item, str) for item in items)
        distinct = list(dict.fromkeys(items)) if texts else list(items)
        vectors = _checked(self._encode[side](distinct), distinct, what)
        self._width[what] = vectors.shape[1]
        if len(set(self._width.values())) > 1:
            shown = ", ".join(f"{name}: {width}" for name, width in self._width.items())
            raise DataError(
                "all vectors of an evaluation must have one length", value=shown, remedy="use one model, or two that share a space"
            )
        norms = vectors.norm(dim=1)
        zeros = int((norms == 0).sum())
        if zeros == len(norms):
            raise DataError(f"every vector of the {what} is zero, so no cosine exists", value=f"{zeros} vectors")
        self.counts["zero_vectors"] += zeros
        if len(norms) > 1 and bool((vectors == vectors[0]).all()):
            self.notes += (f"all vectors of the {what} are equal: figures say what chance and ties give",)
        unit: torch.Tensor = vectors / norms.clamp_min(torch.finfo(torch.float32).tiny)[:, None]
        if len(distinct) == len(items):
            return unit
        at = {text: place for place, text in enumerate(distinct)}
        return unit.index_select(0, torch.tensor([at[text] for text in items]))


def _checked(vectors: Any, items: Sequence[Any], what: str) -> torch.Tensor:
    found = vectors if isinstance(vectors, torch.Tensor) else _tensor(vectors)
    if found.dim() != 2 or len(found) != len(items) or not found.shape[1]:
        raise DataError(f"encode must return one vector per item, ({len(items)}, d), for the {what}", value=tuple(found.shape))
    found = found.detach().float().cpu()
    broken = (~torch.isfinite(found).all(dim=1)).nonzero().flatten()
    if len(broken):
        rule = f"{len(broken)} of {len(found)} vectors of the {what} hold NaN or infinity, the first is that of item {int(broken[0])}"
        remedy = "the model is broken: train it with a smaller learning rate or in float32"
        raise DataError(rule, value=items[int(broken[0])], remedy=remedy)
    return found


def _tensor(vectors: Any) -> torch.Tensor:
    try:
        return torch.as_tensor(vectors)
    except (TypeError, ValueError, RuntimeError):
        raise DataError("encode must return a tensor or an array, (N, d)", value=type(vectors).__name__) from None


def cosines_of_pairs(first: torch.Tensor, second: torch.Tensor, row: Sequence[int], col: Sequence[int]) -> torch.Tensor:
    """(P,) float32: the cosine of each listed pair of unit vectors, a block at a time."""
    rows, cols = torch.as_tensor(row, dtype=torch.int64), torch.as_tensor(col, dtype=torch.int64)
    blocks = zip(rows.split(65_536), cols.split(65_536), strict=True)
    found = [(first[r] * second[c]).sum(-1) for r, c in blocks]
    return torch.cat(found).clamp_(-1.0, 1.0) if found else first.new_zeros(0)
