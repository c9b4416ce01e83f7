"""Which rows a step sees: a function of seed and step number alone, the same for any number of processes.

So the data position of a run is its step number. Several data sets are numbered one after the other; by default every
batch comes from one of them, so that rows of another data set never serve as easy negatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from dipole.core.errors import DataError, DegenerateBatchError, UsageError
from dipole.core.part import choice, part, switch, words
from dipole.core.protocols import Rows
from dipole.core.seed import seed_of


@dataclass
class Plan:
    """The batches of a run. ``lengths``: rows of each data set. Indices run over all data sets, one after the other.

    ``groups`` (rows of all data sets,) int64: rows of one number come one after the other, so that batches are made of whole
    groups but for the one that a batch's end cuts; None: no row has company. ``bound``: rows that are in every batch of their data set.
    """

    lengths: tuple[int, ...]
    batch_size: int
    seed: int
    one_source: bool = True
    keep_last: bool = False
    groups: torch.Tensor | None = None
    bound: torch.Tensor | None = None
    _epoch: tuple[int, list[torch.Tensor]] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for number, (_, length, always) in enumerate(self._sources):
            place = f"data set {number + 1} of {len(self._sources)}" if len(self._sources) > 1 else "the data"
            if length < 2:
                raise DegenerateBatchError(f"{place} must hold at least 2 rows to compare", value=length)
            if length < self.batch_size and not self.keep_last:
                remedy = f"set step.batch_size = {length} or lower, or batches.last = 'keep'"
                raise DegenerateBatchError(f"{place} holds fewer rows than one batch of {self.batch_size}", value=length, remedy=remedy)
            if len(always) >= self.batch_size:
                rule = f"{place} binds {len(always)} rows to every batch, which leaves no place for others"
                raise DegenerateBatchError(rule, value=self.batch_size, remedy=f"set step.batch_size above {len(always)}")
            if self.keep_last and not len(always) and length % self.batch_size == 1:
                remedy = "set batches.last = 'drop', or another step.batch_size"
                raise DegenerateBatchError(f"{place}: the last batch would hold a single row, with nothing to compare", remedy=remedy)

    @property
    def steps_per_epoch(self) -> int:
        """Batches until every row was seen once (left out last batches aside)."""
        counts = [(length - len(always), self.batch_size - len(always)) for _, length, always in self._sources]
        return sum(-(-rows // places) if self.keep_last else rows // places for rows, places in counts)

    def batch(self, step: int) -> torch.Tensor:
        """(B,) int64: the rows of the whole batch of ``step``, counted from 0 over all epochs."""
        epoch, within = divmod(step, self.steps_per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, self._shuffled(epoch))
        return self._epoch[1][within]

    @cached_property
    def _sources(self) -> list[tuple[int, int, torch.Tensor]]:
        """Where each set that batches are drawn from starts, how many rows it has, and those that are in all of its batches."""
        found, start = [], 0
        bound = torch.empty(0, dtype=torch.int64) if self.bound is None else self.bound
        for length in self.lengths if self.one_source else (sum(self.lengths),):
            found.append((start, length, bound[(bound >= start) & (bound < start + length)]))
            start += length
        return found

    def _shuffled(self, epoch: int) -> list[torch.Tensor]:
        dice = torch.Generator().manual_seed(seed_of(self.seed, "epoch", epoch))
        batches: list[torch.Tensor] = []
        for start, length, always in self._sources:
            order = torch.randperm(length, generator=dice) + start
            order = order[~torch.isin(order, always)] if len(always) else order
            if self.groups is not None:
                order = _together(order, self.groups, dice)
            places = self.batch_size - len(always)
            pieces = [*torch.split(order, places)]
            if len(pieces[-1]) < places and not self.keep_last:
                pieces.pop()
            batches += [torch.cat([always, piece]) for piece in pieces] if len(always) else pieces
        if len(self._sources) > 1:
            batches = [batches[i] for i in torch.randperm(len(batches), generator=dice).tolist()]
        return batches


def _together(order: torch.Tensor, groups: torch.Tensor, dice: torch.Generator) -> torch.Tensor:
    """Rows in an order where each group is in one piece: groups by chance, the rows of one as they were."""
    _, of = groups[order].unique(return_inverse=True)
    return order[torch.randperm(int(of.max()) + 1, generator=dice)[of].sort(stable=True).indices]


@part
class Batches:
    """How rows are grouped into batches."""

    one_source: bool = switch(True, "every batch comes from one data set, where several are given")
    last: str = choice(("drop", "keep"), "drop", "what happens to a last batch that is not full")
    together: str = words("", "a column: rows of one value come into a batch together, such as the communities of B3")
    bind: str = words("", "a column: one row of each of its values is in every batch of its data set, the same ones all along")

    def plan(self, lengths: Sequence[int], batch_size: int, seed: int, rows: Rows | None = None) -> Plan:
        """The batches of a run over data sets of these lengths. ``rows``: all of them, read once where ``together`` or ``bind`` names a
        column. Raises DegenerateBatchError where a batch has no pair, DataError for a row without a value in the column."""
        groups, binding = (self._numbers(what, rows) for what in ("together", "bind"))
        bound = None
        if binding is not None:
            if self.one_source:  # a value that two data sets have is bound in both
                source = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
                binding = (source * (int(binding.max()) + 1) + binding).unique(return_inverse=True)[1]
            order = torch.randperm(len(binding), generator=torch.Generator().manual_seed(seed_of(seed, "bind")))
            _, places = binding[order].sort(stable=True)
            firsts = torch.bincount(binding).cumsum(0) - torch.bincount(binding)
            bound = order[places[firsts]]
        return Plan(tuple(lengths), batch_size, seed, self.one_source, self.last == "keep", groups, bound)

    def _numbers(self, what: str, rows: Rows | None) -> torch.Tensor | None:
        """(N,) int64: one number for each value of a column, from 0 in the order of their first rows; None where none is named."""
        column = getattr(self, what)
        if not column or rows is None:
            return None
        numbers: dict[Any, int] = {}
        found = []
        for place, row in enumerate(rows, 1):
            value = row.get(column)
            if not isinstance(value, (str, int)):
                rule = f"batches.{what}: row {place} has no whole number or text in {column}"
                raise DataError(rule, value=value, remedy=f"give every row one, or leave batches.{what} out")
            found.append(numbers.setdefault(value, len(numbers)))
        return torch.tensor(found)


def share(indices: torch.Tensor, rank: int, world_size: int) -> torch.Tensor:
    """The rows of a whole batch that one process encodes: blocks in rank order, sizes differing by one at most."""
    if len(indices) < world_size:
        raise UsageError(f"a batch of {len(indices)} rows cannot be shared by {world_size} processes; raise step.batch_size")
    return indices.tensor_split(world_size)[rank]
