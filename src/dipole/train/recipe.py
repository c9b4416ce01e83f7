"""``Recipe``: the parts of a run, built. ``assembly`` makes one from a TOML file; a notebook can make one by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from dipole.core.errors import UsageError
from dipole.core.protocols import Balance, EncodedLoss, Encoder, Negatives, PairLoss, Rows, Views
from dipole.core.scores import Dot, Score
from dipole.train.batches import Batches
from dipole.train.step import Step


@dataclass(frozen=True, eq=False)
class Recipe:
    """One part an arrow of the data flow.

    ``rows``: one data set or several. ``negatives``: what adds columns to a batch's comparison or takes some away, in order.
    ``weights``: one factor per loss; left out: 1 each. ``between``: the side that asks and the one that answers, per loss; left out:
    queries and keys. ``balance``: what weighs the losses against each other as training goes
    on; None: nothing. ``text``: the resolved TOML that a run folder keeps, empty where the recipe was built by hand.
    """

    rows: tuple[Rows, ...]
    views: Views
    encoder: Encoder
    losses: tuple[PairLoss | EncodedLoss, ...]
    score: Score = field(default_factory=Dot)
    weights: tuple[float, ...] = ()
    between: tuple[tuple[str, str], ...] = ()
    negatives: tuple[Negatives, ...] = ()
    balance: Balance | None = None
    step: Step = field(default_factory=cast(Callable[[], Step], Step))
    batches: Batches = field(default_factory=cast(Callable[[], Batches], Batches))
    name: str = ""
    text: str = ""

    def __post_init__(self) -> None:
        if not self.rows or not self.losses:
            raise UsageError("Recipe: at least one data set and one loss are needed")
        if self.weights and len(self.weights) != len(self.losses):
            raise UsageError(f"Recipe: one weight per loss, got {len(self.weights)} for {len(self.losses)}")
        if self.between and len(self.between) != len(self.losses):
            raise UsageError(f"Recipe: one pair of sides per loss, got {len(self.between)} for {len(self.losses)}")
        if not all(0 <= weight < math.inf for weight in self.weights):
            raise UsageError(f"Recipe: weights must be numbers of at least 0, got {self.weights}")
        if self.negatives and all(hasattr(loss, "over_encoded") for loss in self.losses):
            raise UsageError("Recipe: negatives need a loss over pairs; the terms given see no pairs")
