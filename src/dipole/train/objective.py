"""``Objective``: what a batch's sides are compared by, and the only place where losses are reduced to a scalar.

The reported loss is the mean over the whole batch, N queries on all processes together:

    L = sum_l weight_l * (1/N) * sum_i loss_l,i

A process that answers for some of the N rows differentiates ``world_size`` times its share of L, so that averaging
gradients over processes gives the gradient of L. A term over what the encoder returned is a scalar of the whole batch: it
sees the gathered sides, so each process computes the same number and reports an equal share of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from dipole.core.encoded import Encoded
from dipole.core.errors import DegenerateBatchError, UsageError
from dipole.core.pairs import Pairs
from dipole.core.protocols import Balance, Batch, EncodedLoss, Negatives, PairLoss, Terms, Views
from dipole.core.ranks import add_up
from dipole.core.scores import Score
from dipole.core.vectors import Vectors
from dipole.train.joining import tensors_of

Meta = Mapping[str, torch.Tensor]
Sides = Mapping[str, Encoded]
Reach = Callable[[Sides, Meta, Collection[str] | None], tuple[Sides, Meta, Mapping[str, slice]]]
Between = tuple[str, str]
USUAL: Between = ("queries", "keys")


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
    ``between`` names, loss by loss, the side that asks and the side that answers; left out: queries and keys. ``balance``
    weighs the terms against each other; None: they are added with the weights given.
    """

    def __init__(
        self,
        views: Views,
        score: Score,
        losses: Sequence[PairLoss | EncodedLoss],
        weights: Sequence[float] = (),
        *,
        negatives: Sequence[Negatives] = (),
        between: Sequence[Between] = (),
        balance: Balance | None = None,
        reach: Reach | None = None,
        world_size: int = 1,
    ) -> None:
        super().__init__()
        self.views, self.score, self.losses = views, score, tuple(losses)
        self.weights = tuple(weights) or (1.0,) * len(self.losses)
        if len(self.weights) != len(self.losses) or not all(0 <= weight < math.inf for weight in self.weights):
            rule = f"Objective: weights must be numbers of at least 0, one for each of {len(self.losses)} terms"
            raise UsageError(f"{rule}, got {self.weights}")
        self.between = tuple(between) or (USUAL,) * len(self.losses)
        self.balance, self.reach, self.world_size = balance, reach, world_size
        if balance is not None:
            balance.begin(len(self.losses))
        # Score and views register themselves where they are modules; losses are a plain tuple.
        self.learned = nn.ModuleDict({str(i): loss for i, loss in enumerate(self.losses) if isinstance(loss, nn.Module)})
        self.negatives = tuple(negatives)
        self.kept = nn.ModuleDict({str(i): more for i, more in enumerate(self.negatives) if isinstance(more, nn.Module)})
        self.asks = {side: of for more in (*self.negatives, *self.losses) for side, of in getattr(more, "asks", {}).items()}
        self.asks |= {side: side.removesuffix("_twin") for sides in self.between for side in sides if side.endswith("_twin")}
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
        compared: dict[Between, Pairs] = {}
        for weight, loss, between in zip(self.weights, self.losses, self.between, strict=True):
            if hasattr(loss, "over_encoded"):
                views = {name: e for name, e in sides.items() if name not in self.asks or name in getattr(loss, "asks", {})}
                with torch.autocast(sides["queries"].pooled.device.type, enabled=False):
                    shares.append(weight * loss.over_encoded(_with_meta(views, meta)) / self.world_size)
            else:
                if between not in compared:
                    compared[between] = self._paired(sides, meta, own, between)
                    self._check(compared[between])
                values: torch.Tensor = loss(compared[between])
                shares.append(weight * values.sum() / compared[between].shape[0])
        pairs = next(iter(compared.values()), None)
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
        """Let the negatives take in what the last forward compared, and losses what they follow: once a step, after the optimizer's."""
        for loss in self.losses:
            for part in loss.modules() if isinstance(loss, nn.Module) else [loss]:  # one inside another too
                getattr(part, "after_step", lambda: None)()
        if self._compared is not None:
            for more in self.negatives:
                more.update(*self._compared)
        self._compared = None

    def complete(self, batch: Batch, learns: Callable[[str], bool]) -> Batch:
        """The batch with the sides that negatives and losses ask for, which must be encoded without gradient."""
        if learning := [side for side in self.asks if learns(side)]:
            remedy = 'list { use = "momentum" } behind the encoder'
            raise UsageError(f"side {learning[0]!r} must come from an encoder that does not learn from it; {remedy}")
        return replace(batch, items={**{side: batch.items[of] for side, of in self.asks.items()}, **batch.items})

    def _everyone(self, sides: Sides, meta: Meta) -> tuple[Sides, Meta, Mapping[str, slice]]:
        """Sides and metadata of all processes, and where this process's items are; one process: as they are."""
        return (sides, meta, {}) if self.reach is None else self.reach(sides, meta, self.fields)

    def _paired(self, sides: Sides, meta: Meta, own: Mapping[str, slice], between: Between = USUAL) -> Pairs:
        vectors = {name: self._vectors(encoded) for name, encoded in sides.items()}
        asks, answers = between
        if between == USUAL:
            pairs = self.views.pairs(vectors, meta, self.score)
        else:
            pairs = self.views.pairs(*_renamed(vectors, meta, between), self.score)
        for more in self.negatives:
            if answers in getattr(more, "joins", ()) or not getattr(more, "joins", ()):
                pairs = more.extend(pairs, vectors, meta)
        return replace(pairs, local=(own[asks], own.get(answers, own[asks]))) if own else pairs

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


def _renamed(vectors: Mapping[str, Vectors], meta: Meta, between: Between) -> tuple[dict[str, Vectors], dict[str, torch.Tensor]]:
    """The two sides under the names that views know, with their metadata; a twin has its side's."""
    for side in between:
        if side not in vectors:
            raise UsageError(f"losses: between names the side {side!r}, the batch has {', '.join(vectors)}")
    named = {
        new + name[len(side.removesuffix("_twin")) :]: tensor
        for side, new in zip(between, USUAL, strict=True)
        for name, tensor in meta.items()
        if name.startswith(side.removesuffix("_twin") + ".")
    }
    return {new: vectors[side] for side, new in zip(between, USUAL, strict=True)}, named


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
