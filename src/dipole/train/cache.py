"""Gradient caching: the gradient of a loss over a whole batch, at the encoder memory of one micro batch.

    1. encode every micro batch without grad, noting the random state before each;
    2. the loss of all vectors at once, and its gradient on them (learned parameters of scores and losses included);
    3. encode every micro batch again from its random state, with grad, and send its share of that gradient back.

The result equals :func:`plain_backward`, which keeps every micro batch's graph. Dropout masks depend on how a batch is
cut, so both cut it alike and draw from the same streams. Source: arXiv:2101.06983 (GradCache).

Not allowed: an encoder whose forward depends on other items or changes state (BatchNorm, queues inside the encoder),
since the second pass would not repeat the first. Give ``module`` and it is refused with a message.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from dipole.core.encoded import Encoded
from dipole.core.errors import EngineError
from dipole.train.joining import Tensors, cut, encoded_of, join, tensors_of
from dipole.train.rng import RandomState

Encode = Callable[[Tensors], Encoded]
LossOf = Callable[[Mapping[str, Encoded]], torch.Tensor]


@dataclass(frozen=True, eq=False)
class Done:
    """What a backward pass leaves behind besides the weights' gradients: the loss, each side's vectors, both detached, and the
    loss's gradient on each side's ``pooled``, (B, d), where it has one."""

    loss: torch.Tensor
    sides: Mapping[str, Encoded]
    gradients: Mapping[str, torch.Tensor] = field(default_factory=dict)


def cached_backward(
    encode: Encode,
    inputs: Mapping[str, Tensors],
    loss_of: LossOf,
    micro_batch_size: int,
    *,
    module: nn.Module | None = None,
) -> Done:
    """Accumulate gradients of ``loss_of(sides)`` with respect to everything learned.

    ``encode`` maps tensors with leading b to ``Encoded``. ``inputs``: side -> tensors with leading B. ``loss_of``: the
    whole batch's ``Encoded`` of each side -> a scalar. ``module``: the encoder, checked for state that forbids caching.
    """
    return backward_in_parts(encode, {side: cut(x, micro_batch_size) for side, x in inputs.items()}, loss_of, module=module)


def plain_backward(encode: Encode, inputs: Mapping[str, Tensors], loss_of: LossOf, micro_batch_size: int) -> Done:
    """The same gradients the plain way: every graph is kept until the end. The oracle of :func:`cached_backward`."""
    return backward_in_parts(encode, {side: cut(x, micro_batch_size) for side, x in inputs.items()}, loss_of, cached=False)


def backward_in_parts(
    encode: Encode,
    micro_batches: Mapping[str, Sequence[Tensors]],
    loss_of: LossOf,
    *,
    cached: bool = True,
    keep: Collection[str] | None = None,
    constant: Collection[str] = (),
    backward: Callable[[torch.Tensor], None] = torch.Tensor.backward,
    unsynced: Callable[[], AbstractContextManager[object]] | None = None,
    module: nn.Module | None = None,
) -> Done:
    """The general form: micro batches are given, and may differ in size and in token count.

    ``keep``: fields of ``Encoded`` that ``loss_of`` reads (None: all). ``constant``: sides that are encoded without gradient,
    and so once. ``backward``: how a scalar is differentiated.
    ``unsynced``: a context entered for all micro batches but the last (DDP's no_sync). DDP then waits for a gradient of
    every parameter of ``module``, so the last backward pass has all of them in its graph, at a factor of 0: an encoder may
    have a tower of its own for each side.
    """
    jobs = [(side, number) for side, pieces in micro_batches.items() for number in range(len(pieces))]
    before = _state(module) if cached else 0
    states: list[RandomState] = []
    encoded: dict[str, list[dict[str, torch.Tensor]]] = {side: [] for side in micro_batches}
    with torch.set_grad_enabled(not cached):
        for side, number in jobs:
            if cached:
                states.append(RandomState.now())
            encoded[side].append(tensors_of(encode(micro_batches[side][number]), keep))
    if cached and _state(module) != before:
        raise EngineError(
            "gradient caching: the encoder's forward changed one of its buffers, so a second pass would not repeat the first; "
            "set micro_batch_size = 0, or freeze that buffer"
        )
    whole = {side: join(pieces) for side, pieces in encoded.items()}
    if cached:
        whole = {side: {n: _leaf(t) for n, t in ts.items()} if side not in constant else ts for side, ts in whole.items()}
    loss = loss_of({side: encoded_of(tensors) for side, tensors in whole.items()})
    learning = {side: tensors["pooled"] for side, tensors in whole.items() if tensors["pooled"].requires_grad}
    for pooled in learning.values():
        pooled.retain_grad()
    waited_for = [p for p in module.parameters() if p.requires_grad] if unsynced is not None and module is not None else []
    backward(loss if cached else _touching(loss, waited_for))
    if cached:
        _second_pass(encode, micro_batches, whole, states, backward, unsynced or contextlib.nullcontext, waited_for)
    sides = {side: encoded_of({n: t.detach() for n, t in tensors.items()}) for side, tensors in whole.items()}
    return Done(loss.detach(), sides, {side: pooled.grad for side, pooled in learning.items() if pooled.grad is not None})


def _second_pass(
    encode: Encode,
    micro_batches: Mapping[str, Sequence[Tensors]],
    whole: Mapping[str, Tensors],
    states: Sequence[RandomState],
    backward: Callable[[torch.Tensor], None],
    unsynced: Callable[[], AbstractContextManager[object]],
    waited_for: Sequence[nn.Parameter],
) -> None:
    after = RandomState.now()
    torch.clear_autocast_cache()  # holds weights cast without grad in the first pass, if an autocast region is open
    work = []
    states_left = iter(states)
    for side, pieces in micro_batches.items():
        gradients = {name: t.grad for name, t in whole[side].items() if t.grad is not None}
        start = 0
        for inputs in pieces:
            state, stop = next(states_left), start + len(next(iter(inputs.values())))
            if gradients:
                work.append((inputs, state, {name: g[start:stop] for name, g in gradients.items()}))
            start = stop
    for number, (inputs, state, gradients) in enumerate(work):
        last = number == len(work) - 1
        with contextlib.nullcontext() if last else unsynced():
            state.restore()
            again = tensors_of(encode(inputs))
            share = [(again[name] * _narrowed(g, again[name])).sum() for name, g in gradients.items() if again[name].requires_grad]
            total = torch.stack([s.to(share[0].dtype) for s in share]).sum() if share else torch.zeros(())
            total = _touching(total, waited_for) if last else total
            if total.requires_grad:
                backward(total)
    after.restore()


def _touching(loss: torch.Tensor, parameters: Sequence[nn.Parameter]) -> torch.Tensor:
    """The loss, with every parameter in its graph."""
    return loss + torch.stack([0 * p.sum() for p in parameters]).sum() if parameters else loss


def _leaf(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.detach()
    return tensor.requires_grad_() if tensor.is_floating_point() else tensor


def _narrowed(gradient: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Without the padding that joining added."""
    return gradient[tuple(slice(size) for size in like.shape)]


def _state(module: nn.Module | None) -> int:
    """A number that grows when a buffer changes. Refuses BatchNorm, whose output depends on the other items."""
    if module is None:
        return 0
    for name, inner in module.named_modules():
        if isinstance(inner, _BatchNorm) and inner.training:
            raise EngineError(
                f"gradient caching: {name or type(inner).__name__} is a BatchNorm, which mixes the items of a micro batch; "
                "set micro_batch_size = 0, or use GroupNorm or LayerNorm"
            )
    return sum(buffer._version for buffer in module.buffers())
