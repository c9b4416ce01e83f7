"""``Encoded`` as a flat mapping of named tensors: to cut it, join it, pick from it.

Names: ``pooled``, ``tokens``, ``mask``, ``pre_norm``, ``logits``, ``layers.0``, ``attention.0``, ``meta.NAME``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch

from dipole.core.encoded import Encoded

Tensors = Mapping[str, torch.Tensor]
_SINGLE = ("pooled", "tokens", "mask", "pre_norm", "logits")


def tensors_of(encoded: Encoded, keep: Collection[str] | None = None) -> dict[str, torch.Tensor]:
    """The tensors by name. ``keep``: the fields wanted (``pooled`` always comes along); None: all that are there."""
    found = {name: value for name in _SINGLE if (value := getattr(encoded, name)) is not None}
    for field in ("layers", "attention"):
        found.update({f"{field}.{i}": t for i, t in enumerate(getattr(encoded, field))})
    found.update({f"meta.{name}": t for name, t in encoded.meta.items()})
    return found if keep is None else {name: t for name, t in found.items() if name == "pooled" or name.split(".")[0] in keep}


def encoded_of(tensors: Tensors) -> Encoded:
    """The inverse of :func:`tensors_of`."""

    def several(field: str) -> tuple[torch.Tensor, ...]:
        names = sorted((n for n in tensors if n.startswith(field + ".")), key=lambda n: int(n.split(".")[1]))
        return tuple(tensors[n] for n in names)

    return Encoded(
        tensors["pooled"],
        tokens=tensors.get("tokens"),
        mask=tensors.get("mask"),
        pre_norm=tensors.get("pre_norm"),
        layers=several("layers"),
        attention=several("attention"),
        logits=tensors.get("logits"),
        meta={n[len("meta.") :]: t for n, t in tensors.items() if n.startswith("meta.")},
    )


def join(parts: Sequence[Tensors]) -> dict[str, torch.Tensor]:
    """Concatenate along B. Where parts differ in another dimension (token counts), the shorter are padded with zeros."""
    if len(parts) == 1:
        return dict(parts[0])
    return {name: _join([part[name] for part in parts]) for name in parts[0]}


def pick(encoded: Encoded, index: torch.Tensor) -> Encoded:
    """The items at ``index``, in that order."""
    return encoded_of({name: t[index.to(t.device)] for name, t in tensors_of(encoded).items()})


def cut(inputs: Tensors, size: int) -> list[dict[str, torch.Tensor]]:
    """Cut tensors with a common leading B into pieces of at most ``size`` items; 0: one piece."""
    length = len(next(iter(inputs.values())))
    size = size or max(length, 1)
    return [{name: t[at : at + size] for name, t in inputs.items()} for at in range(0, length, size)]


def _join(tensors: list[torch.Tensor]) -> torch.Tensor:
    shape = [max(t.shape[d] for t in tensors) for d in range(1, tensors[0].dim())]
    return torch.cat([_padded(t, shape) for t in tensors])


def _padded(tensor: torch.Tensor, shape: list[int]) -> torch.Tensor:
    missing = [want - have for want, have in zip(shape, tensor.shape[1:], strict=True)]
    if not any(missing):
        return tensor
    pad = [p for more in reversed(missing) for p in (0, more)]
    return torch.nn.functional.pad(tensor, pad)
