"""One optimisation step: its settings, and the gradient of one batch by the encoder and an objective."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager

import torch
from torch import nn

from dipole.core.encoded import Encoded
from dipole.core.part import at_least, between, choice, part, positive
from dipole.core.protocols import Batch, Encoder
from dipole.train.cache import Done, backward_in_parts
from dipole.train.joining import Tensors, encoded_of, pick, tensors_of
from dipole.train.objective import Objective


@part
class Step:
    """How training goes on from batch to batch: AdamW with a warm-up and a schedule."""

    batch_size: int = at_least(2, 64, "rows the loss compares at once, over all processes")
    micro_batch_size: int = at_least(0, 0, "items encoded at once; fewer than batch_size: gradient caching; 0: all")
    num_train_epochs: float = positive(1, "passes over the data")
    max_steps: int = at_least(0, 0, "steps, instead of epochs; 0: as many as the epochs need")
    learning_rate: float = positive(2e-5, "the highest learning rate")
    weight_decay: float = at_least(0.0, 0.0, "AdamW's decay, on matrices only")
    warmup: float = between(0.0, 1.0, 0.0, "share of the steps over which the learning rate rises from 0")
    schedule: str = choice(("linear", "cosine", "constant"), "linear", "how the learning rate goes on after the warm-up")
    max_grad_norm: float = at_least(0.0, 1.0, "gradients are scaled down to this norm; 0: never")
    precision: str = choice(("32-true", "bf16-mixed", "bf16-true", "64-true"), "32-true", "number format, as Fabric names it")
    seed: int = at_least(0, 42, "decides order, dropout and fresh weights")
    save_steps: int = at_least(0, 500, "steps between checkpoints; 0: only when interrupted and at the end")

    def steps(self, steps_per_epoch: int) -> int:
        """Steps of the whole run."""
        return self.max_steps or max(1, math.ceil(self.num_train_epochs * steps_per_epoch))

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of ``step`` (from 0) of ``steps``."""
        rising = math.ceil(self.warmup * steps)
        if step < rising:
            return self.learning_rate * (step + 1) / rising
        done = (step - rising) / max(1, steps - rising)
        falling = {"linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2, "constant": 1.0}
        return self.learning_rate * falling[self.schedule]


def prepared(encoder: Encoder, batch: Batch, micro_batch_size: int) -> tuple[dict[str, list[Tensors]], dict[str, torch.Tensor]]:
    """The micro batches of every side, and for each side where item i went.

    Items of like size (where they have a length) share a micro batch, which saves padding; sizes fall, so that the
    largest micro batch comes first.
    """
    pieces: dict[str, list[Tensors]] = {}
    places: dict[str, torch.Tensor] = {}
    for side, items in batch.items.items():
        size = micro_batch_size or max(1, len(items))
        sized = len(items) > size and all(isinstance(item, (str, bytes)) for item in items)
        order = sorted(range(len(items)), key=lambda i: -len(items[i])) if sized else list(range(len(items)))
        pieces[side] = [encoder.prepare([items[i] for i in order[at : at + size]], side) for at in range(0, len(items), size)]
        places[side] = torch.tensor(order).argsort() if order else torch.zeros(0, dtype=torch.long)
    return pieces, places


def backward(
    encode: Callable[[Tensors], Encoded],
    encoder: Encoder,
    objective: Objective,
    batch: Batch,
    micro_batch_size: int,
    *,
    cached: bool | None = None,
    device: torch.device | str = "cpu",
    differentiate: Callable[[torch.Tensor], None] = torch.Tensor.backward,
    unsynced: Callable[[], AbstractContextManager[object]] | None = None,
) -> Done:
    """Accumulate the gradient of one batch. ``cached`` None: where a side needs more than one micro batch."""
    learns: Callable[[str], bool] = getattr(encoder, "learns", lambda side: True)
    batch = objective.complete(batch, learns)
    pieces, places = prepared(encoder, batch, micro_batch_size)
    moved = {side: [{n: t.to(device) for n, t in piece.items()} for piece in ps] for side, ps in pieces.items()}
    meta = {name: t.to(device) for name, t in batch.meta.items()}

    def loss_of(sides: Mapping[str, Encoded]) -> torch.Tensor:
        total: torch.Tensor = objective({side: pick(encoded, places[side]) for side, encoded in sides.items()}, meta)
        return total

    several = any(len(ps) > 1 for ps in pieces.values())
    done = backward_in_parts(
        encode,
        moved,
        loss_of,
        cached=several if cached is None else cached,
        keep=objective.fields,
        constant={side for side in pieces if not learns(side)},
        backward=differentiate,
        unsynced=unsynced,
        module=encoder if isinstance(encoder, nn.Module) else None,
    )
    gradients = {side: g[places[side].to(g.device)] for side, g in done.gradients.items()}
    return Done(done.loss, {side: pick(encoded, places[side]) for side, encoded in done.sides.items()}, gradients)


class Tower(nn.Module):
    """An encoder whose forward returns a plain mapping of the tensors wanted: what Fabric, DDP and FSDP can wrap."""

    def __init__(self, encoder: nn.Module, fields: Collection[str] | None) -> None:
        super().__init__()
        self.encoder, self.fields = encoder, fields

    def forward(self, inputs: Tensors) -> dict[str, torch.Tensor]:
        return tensors_of(self.encoder(inputs), self.fields)


def encode_with(tower: Callable[[Tensors], dict[str, torch.Tensor]]) -> Callable[[Tensors], Encoded]:
    """The encoder's protocol again, around a wrapped :class:`Tower`."""
    return lambda inputs: encoded_of(tower(inputs))
