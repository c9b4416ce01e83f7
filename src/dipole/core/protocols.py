"""The arrows of the data flow: rows -> views -> encoder -> pairs (+ negatives) -> loss. Each is one small protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from dipole.core.encoded import Encoded
from dipole.core.pairs import Pairs
from dipole.core.scores import Score
from dipole.core.vectors import Vectors

Row = Mapping[str, Any]


class Rows(Protocol):
    """A data set: rows in a fixed order, each a mapping from role (``anchor``, ``positive``, ``label``, ...) to value."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Row: ...

    def __iter__(self) -> Iterator[Row]: ...

    @property
    def fingerprint(self) -> str:
        """Changes when the content does; part of a checkpoint's data position."""
        ...


@dataclass(frozen=True, eq=False)
class Batch:
    """What a step encodes: named sides, each a list of items, and tensors that say how they belong together.

    ``items`` maps a side (``queries``, ``keys``, ``negatives``) to its items. ``meta`` maps ``side.name`` to a tensor with
    one entry per item of that side. A name ending in ``owner`` holds indices of query rows (-1: all), which gathering
    across ranks shifts by the rank's first row.
    """

    items: Mapping[str, Sequence[Any]]
    meta: Mapping[str, torch.Tensor] = field(default_factory=dict)


class Views(Protocol):
    """How positives arise from rows, and how the encoded sides pair up."""

    def __call__(self, rows: Sequence[Row]) -> Batch:
        """The sides of a batch. All randomness comes from torch's generators, so a resumed run repeats it."""
        ...

    def pairs(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor], score: Score) -> Pairs:
        """The comparison of the encoded sides (of all ranks, where they were gathered)."""
        ...


class Encoder(Protocol):
    """Items -> vectors. An ``nn.Module`` with a first half that needs no device.

    Where it has them: ``learns(side)`` says whether gradients reach it from that side (default: yes), and
    ``after_step(step, steps)`` runs after each optimizer step, for weights that follow others.
    """

    def prepare(self, items: Sequence[Any], side: str = "queries") -> Mapping[str, torch.Tensor]:
        """Tokenise, decode, pad: tensors with leading B on the CPU."""
        ...

    def __call__(self, inputs: Mapping[str, torch.Tensor]) -> Encoded: ...


class Negatives(Protocol):
    """Further columns (a queue, noise, mixtures, centroids), or fewer (the hardest only); their state between steps.

    A part with state is an ``nn.Module`` that keeps it in buffers, so that checkpoints hold it. ``extend`` may run any number
    of times a step and changes nothing; ``update`` runs once, after the optimizer's step. Both see the sides and metadata
    of all processes in one order, and draw by chance only from :func:`dipole.core.seed.dice`: so all processes hold the
    same state. ``asks``, where a part has it, maps a side it needs encoded besides the views' to the one whose items it takes.
    """

    def extend(self, pairs: Pairs, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor]) -> Pairs:
        """The pairs with columns added or left out."""
        ...

    def update(self, sides: Mapping[str, Vectors], meta: Mapping[str, torch.Tensor]) -> None:
        """Take in what the step compared; vectors carry no gradient."""
        ...


class PairLoss(Protocol):
    """An objective over pairs: one value per query, in nats unless its text says otherwise.

    ``after_step()``, where the part or one inside it has it, runs once a step, after the optimizer's.
    """

    def __call__(self, pairs: Pairs) -> torch.Tensor: ...


class EncodedLoss(Protocol):
    """An objective over what the encoder returned for each side; a scalar.

    It sees the items of all processes, and a side's metadata (``label``, ``owner``) in that side's ``meta``, so it is written
    as for one process. ``reads``, where the part has it, names the fields of ``Encoded`` it needs: no others are kept or
    sent. Chance must fall alike on every process: draw from a generator seeded by a number that is part of the state.
    ``asks``, where the part has it, is that of negatives: sides that only the part that asks for them sees. ``after_step()``, where it
    has it, runs once a step, after the optimizer's.
    """

    def over_encoded(self, sides: Mapping[str, Encoded]) -> torch.Tensor: ...


@dataclass(frozen=True, eq=False)
class Terms:
    """The terms of one batch, before they are added up.

    ``shares`` (L,): each term times its weight in the recipe, this process's part; the sum over processes is the whole
    batch's value. ``vectors``: what the encoder returned on this process, where a gradient can reach it. ``add_up``: the sum of
    a tensor over processes, without a gradient.
    """

    shares: torch.Tensor
    vectors: Sequence[torch.Tensor]
    add_up: Callable[[torch.Tensor], torch.Tensor]


class Balance(Protocol):
    """How several terms become one number: what the step minimises is ``(weights * shares).sum() + penalty``."""

    def begin(self, count: int) -> None:
        """Called once, before training, with the number of terms."""
        ...

    def __call__(self, terms: Terms) -> tuple[torch.Tensor, torch.Tensor]:
        """(L,) weights, and a scalar penalty that counts once for all processes."""
        ...
