"""One optimisation step: its settings, and the only place where losses are reduced to a scalar.

The reported loss is the mean over the whole batch, N queries on all processes together:

    L = sum_l weight_l * (1/N) * sum_i loss_l,i

A process that answers for some of the N rows differentiates ``world_size`` times its share of L, so that averaging
gradients over processes gives the gradient of L. A term over what the encoder returned is a scalar of the whole batch: it
sees the gathered sides, so each process computes the same number and reports an equal share of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from dipole.core.encoded import Encoded
from dipole.core.errors import DegenerateBatchError, UsageError
from dipole.core.pairs import Pairs
from dipole.core.part import at_least, between, choice, part, positive
from dipole.core.protocols import Balance, Batch, EncodedLoss, Encoder, Negatives, PairLoss, Terms, Views
from dipole.core.ranks import add_up
from dipole.core.scores import Score
from dipole.core.vectors import Vectors
from dipole.train.cache import Done, backward_in_parts
from dipole.train.joining import Tensors, encoded_of, pick, tensors_of

Meta = Mapping[str, torch.Tensor]
Sides = Mapping[str, Encoded]
Reach = Callable[[Sides, Meta, Collection[str] | None], tuple[Sides, Meta, Mapping[str, slice]]]


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


@dataclass(frozen=True, eq=False)
class Seen:
    """What one loss stage saw: for the log. ``losses`` are this process's shares of the whole batch's means.

    ``weights``: what a balance made of them, empty without one.
    """

    losses: tuple[float, ...]
    candidates: int
    rows: int
    rows_without_positives: int
    weights: tuple[float, ...] = ()


class Objective(nn.Module):
    """Views' pairing, negatives, score and losses together: encoded sides -> a scalar. Holds what they learn and keep.

    ``reach`` extends the sides to those of all processes (see :mod:`dipole.train.ranks`); None: there is one process.
    Terms over what the encoder returned find a side's metadata (labels, owners) in that side's ``Encoded.meta``.
    ``balance`` weighs the terms against each other; None: they are added with the weights given.
    """

    def __init__(
        self,
        views: Views,
        score: Score,
        losses: Sequence[PairLoss | EncodedLoss],
        weights: Sequence[float] = (),
        *,
        negatives: Sequence[Negatives] = (),
        balance: Balance | None = None,
        reach: Reach | None = None,
        world_size: int = 1,
    ) -> None:
        super().__init__()
        self.views, self.score, self.losses = views, score, tuple(losses)
        self.weights = tuple(weights) or (1.0,) * len(self.losses)
        self.balance, self.reach, self.world_size = balance, reach, world_size
        if balance is not None:
            balance.begin(len(self.losses))
        # Score and views register themselves where they are modules; losses are a plain tuple.
        self.learned = nn.ModuleDict({str(i): loss for i, loss in enumerate(self.losses) if isinstance(loss, nn.Module)})
        self.negatives = tuple(negatives)
        self.kept = nn.ModuleDict({str(i): more for i, more in enumerate(self.negatives) if isinstance(more, nn.Module)})
        self.asks = {side: of for more in self.negatives for side, of in getattr(more, "asks", {}).items()}
        self.seen: Seen | None = None
        self.watched_by: Callable[[Pairs, Sides, Meta], None] | None = None  # sees a batch's pairs; set by the doctor
        self._compared: tuple[Mapping[str, Vectors], Meta] | None = None

    def named_parts(self) -> list[tuple[str, Any]]:
        """Score, losses and balance by their names in a recipe."""
        parts = [("score", self.score), *((f"losses.{i}", loss) for i, loss in enumerate(self.losses))]
        return parts if self.balance is None else [*parts, ("balance", self.balance)]

    @property
    def fields(self) -> Collection[str] | None:
        """Fields of ``Encoded`` the objective reads, so that no other is cached; None: all."""
        if any(hasattr(loss, "over_encoded") and not hasattr(loss, "reads") for loss in self.losses):
            return None
        read = {f for _, p in self.named_parts() for f in getattr(p, "reads", ())}
        return {"pooled", *read, *({"mask"} if "tokens" in read else ())}

    def pairs(self, sides: Sides, meta: Meta) -> Pairs:
        """Who is compared with whom in this batch, over all processes."""
        return self._paired(*self._everyone(sides, meta))

    def forward(self, sides: Sides, meta: Meta) -> torch.Tensor:
        """The scalar to differentiate. Raises DegenerateBatchError where there is nothing to compare."""
        shares: list[torch.Tensor] = []
        vectors = [t for encoded in sides.values() for t in tensors_of(encoded).values() if t.requires_grad]
        sides, meta, own = self._everyone(sides, meta)
        pairs = self._paired(sides, meta, own) if any(not hasattr(loss, "over_encoded") for loss in self.losses) else None
        if pairs is not None:
            self._check(pairs)
        for weight, loss in zip(self.weights, self.losses, strict=True):
            if hasattr(loss, "over_encoded"):
                views = {name: encoded for name, encoded in sides.items() if name not in self.asks}
                with torch.autocast(sides["queries"].pooled.device.type, enabled=False):
                    shares.append(weight * loss.over_encoded(_with_meta(views, meta)) / self.world_size)
            else:
                assert pairs is not None
                values: torch.Tensor = loss(pairs)
                shares.append(weight * values.sum() / pairs.shape[0])
        if pairs is not None and self.watched_by is not None:
            self.watched_by(pairs, sides, meta)
        lonely = 0 if pairs is None else int((pairs.positives_per_row() == 0).sum())
        rows, candidates = (0, 0) if pairs is None else pairs.shape
        self.seen = Seen(tuple(float(s.detach()) for s in shares), candidates, rows, lonely)
        self._compared = {n: _still(self._vectors(e)) for n, e in sides.items()} if self.negatives else {}, meta
        if self.balance is None:
            return torch.stack(shares).sum() * self.world_size
        terms = Terms(torch.stack(shares), vectors, partial(add_up, world_size=self.world_size))
        weights, penalty = self.balance(terms)
        self.seen = replace(self.seen, weights=tuple(weights.tolist()))
        return (weights * terms.shares).sum() * self.world_size + penalty

    def after_step(self) -> None:
        """Let the negatives take in what the last forward compared: once a step, after the optimizer's."""
        if self._compared is not None:
            for more in self.negatives:
                more.update(*self._compared)
        self._compared = None

    def complete(self, batch: Batch, learns: Callable[[str], bool]) -> Batch:
        """The batch with the sides that negatives ask for, which must be encoded without gradient."""
        if learning := [side for side in self.asks if learns(side)]:
            remedy = 'list { use = "momentum" } behind the encoder'
            raise UsageError(f"negatives: side {learning[0]!r} must come from an encoder that does not learn from it; {remedy}")
        return replace(batch, items={**{side: batch.items[of] for side, of in self.asks.items()}, **batch.items})

    def _everyone(self, sides: Sides, meta: Meta) -> tuple[Sides, Meta, Mapping[str, slice]]:
        """Sides and metadata of all processes, and where this process's items are; one process: as they are."""
        return (sides, meta, {}) if self.reach is None else self.reach(sides, meta, self.fields)

    def _paired(self, sides: Sides, meta: Meta, own: Mapping[str, slice]) -> Pairs:
        vectors = {name: self._vectors(encoded) for name, encoded in sides.items()}
        pairs = self.views.pairs(vectors, meta, self.score)
        for more in self.negatives:
            pairs = more.extend(pairs, vectors, meta)
        return replace(pairs, local=(own["queries"], own.get("keys", own["queries"]))) if own else pairs

    def _vectors(self, encoded: Encoded) -> Vectors:
        if "tokens" in getattr(self.score, "reads", ()):
            assert encoded.tokens is not None and encoded.mask is not None, "the score reads tokens, the encoder returned none"
            return encoded.tokens, encoded.mask
        return encoded.pooled

    def _check(self, pairs: Pairs) -> None:
        rows, candidates = pairs.shape
        if candidates < 2:
            raise DegenerateBatchError(
                "a batch must hold at least two candidates: with one there is nothing to tell apart",
                value=f"{rows} x {candidates}",
                remedy="raise step.batch_size or give more rows",
            )
        if self.world_size == 1 and not bool((pairs.positives_per_row() > 0).any()):
            raise DegenerateBatchError(
                "no row of the batch has a positive", value=f"{rows} rows", remedy="check the labels, or raise step.batch_size"
            )


def _still(vectors: Vectors) -> Vectors:
    return vectors.detach() if isinstance(vectors, torch.Tensor) else tuple(v.detach() for v in vectors)


def _with_meta(sides: Sides, meta: Meta) -> Sides:
    """The sides, each with the batch's metadata that is named after it."""
    found: dict[str, dict[str, torch.Tensor]] = {side: {} for side in sides}
    for name, tensor in meta.items():
        side, _, field = name.partition(".")
        if side in found:
            found[side][field] = tensor
    return {side: replace(encoded, meta={**encoded.meta, **found[side]}) for side, encoded in sides.items()}


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
