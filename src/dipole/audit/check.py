"""What a check is: it sees blocks, may ask to see some rows again, and yields findings."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from dipole.audit.findings import Drop, Finding
from dipole.audit.near import Texts
from dipole.audit.source import Item, Source

Block = Sequence[tuple[int, Item, Texts]]  # row index, row, its texts as they are compared; rows without a problem only


@dataclass
class Cleaning:
    """What ``--fix`` would do: see :class:`dipole.audit.findings.Report`."""

    rows: dict[str, dict[int, Drop]] = field(default_factory=dict)
    negatives: dict[int, list[str]] = field(default_factory=dict)

    def drop(self, kind: str, index: int, why: str, instead_of: int | None = None) -> None:
        """The row goes; the first reason stays."""
        self.rows.setdefault(kind, {}).setdefault(index, Drop(why, instead_of))


class Check(Protocol):
    """One kind of illness, or two that are found alike."""

    def see(self, block: Block) -> None:
        """The next rows, each once, in order."""
        ...

    def wants(self) -> Collection[int]:
        """Row indices to see again, after the last block; mostly none."""
        ...

    def see_again(self, block: Block) -> None:
        """Wanted rows, and perhaps others."""
        ...

    def findings(self, source: Source, cleaning: Cleaning) -> Iterator[Finding]:
        """What was found, in the order of the rows; ``cleaning`` is filled on the way."""
        ...

    def notes(self) -> list[str]:
        """What was looked at, for people."""
        ...


class Once:
    """The base of checks that need one look and have nothing to tell beside their findings."""

    def wants(self) -> Collection[int]:
        return ()

    def see_again(self, block: Block) -> None:
        """Nothing was wanted."""

    def notes(self) -> list[str]:
        return []


def groups(keys: Any) -> list[Any]:
    """Places of equal keys, ascending, for each key met more than once; in the order of their first place."""
    order = np.argsort(keys, kind="stable")
    edges = np.flatnonzero(np.diff(keys[order]) != 0) + 1
    found = [run for run in np.split(order, edges) if len(run) > 1]
    return sorted(found, key=lambda run: int(run[0]))


def shown(text: str, limit: int = 60) -> str:
    """A text in quotes, cut."""
    return repr(text if len(text) <= limit else text[: limit - 3] + "...")
