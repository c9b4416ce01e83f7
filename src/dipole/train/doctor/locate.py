"""Where a NaN or an infinity came from: the batch is run again, every module's output looked at on the way.

Only after a bad loss or gradient norm was seen, so a healthy run pays nothing for it.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from dipole.core.encoded import Encoded
from dipole.train.joining import tensors_of


@dataclasses.dataclass
class Found:
    """The first bad tensor in words; the first that is bad only by -inf, which masks have too, for when there is no other."""

    sure: str = ""
    maybe: str = ""

    def look(self, what: str, tensor: torch.Tensor) -> None:
        """Note the tensor if it is the first that is not finite."""
        if self.sure or not tensor.is_floating_point() or bool(torch.isfinite(tensor).all()):
            return
        nan, high = int(tensor.isnan().sum()), int((tensor == torch.inf).sum())
        low = int((tensor == -torch.inf).sum())
        counted = [f"{count} {name}" for count, name in ((nan, "NaN"), (high, "+inf"), (low, "-inf")) if count]
        said = f"{what} ({' and '.join(counted)} of {tensor.numel()} numbers)"
        if nan or high:
            self.sure = said
        else:
            self.maybe = self.maybe or said

    @property
    def text(self) -> str:
        """Empty where everything was finite."""
        return self.sure or self.maybe


def first_bad(named: Mapping[str, nn.Module], again: Callable[[], Any]) -> tuple[str, bool]:
    """The first tensor that is not finite, in words, and whether it is a weight.

    ``named``: the modules to look into; the objective has the name "" and its output is the loss. ``again``: runs the step
    that failed, forward and backward, from the same random state. Weights come first, then outputs in the order they are made,
    then gradients in the order they arrive.
    """
    weights = Found()
    for name, tensor in _tensors(named):
        weights.look(f"the weight {name}", tensor.detach())
    if weights.sure:  # not -inf alone: buffers may be masks
        return weights.sure, True
    found = Found()
    with _looking(named, found), contextlib.suppress(ArithmeticError, RuntimeError):
        again()
    if not found.text:
        for name, tensor in _tensors(named):
            if tensor.grad is not None:
                found.look(f"the gradient of {name}", tensor.grad)
    return found.text, False


@contextlib.contextmanager
def _looking(named: Mapping[str, nn.Module], found: Found) -> Iterator[None]:
    handles = []
    for prefix, module in named.items():
        for path, inner in module.named_modules():
            what = f"the output of {name} ({type(inner).__name__})" if (name := _joined(prefix, path)) else "the loss"
            handles.append(inner.register_forward_hook(_hook(what, found)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hook(what: str, found: Found) -> Callable[..., None]:
    def after(module: nn.Module, inputs: Any, output: Any) -> None:
        for tensor in _of(output):
            found.look(what, tensor.detach())
            if tensor.requires_grad and tensor.is_floating_point():
                tensor.register_hook(lambda g: found.look(f"the gradient arriving at {what}", g.detach()))

    return after


def _of(output: Any) -> list[torch.Tensor]:
    tensors = tensors_of(output).values() if isinstance(output, Encoded) else tree_leaves(output)
    return [t for t in tensors if isinstance(t, torch.Tensor)]


def _tensors(named: Mapping[str, nn.Module]) -> Iterable[tuple[str, torch.Tensor]]:
    for prefix, module in named.items():
        for path, tensor in (*module.named_parameters(), *module.named_buffers()):
            yield _joined(prefix, path), tensor


def _joined(prefix: str, path: str) -> str:
    return ".".join(piece for piece in (prefix, path) if piece)
