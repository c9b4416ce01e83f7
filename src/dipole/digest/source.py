"""Where digests come from: the collections in a folder, those that cannot be opened, and what else it takes to read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dipole.core.errors import DataError, DipoleError, UnknownNameError
from dipole.search import manifest
from dipole.search.collection import Collection
from dipole.search.documents import Embedder

FAULTS = (DipoleError, OSError, RuntimeError, ValueError)  # of one collection: LanceDB raises any of these for files that are gone


@dataclass(frozen=True)
class Source:
    """Collections by name, as they are at one moment; a way to a model by its name; and the votes given since a collection was
    written. ``broken``: why a collection that is there cannot be opened, by name.
    """

    collections: Mapping[str, Collection]
    load: Callable[[str], Embedder]
    votes: Callable[[str], dict[str, int]] = lambda name: {}
    broken: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def open(folder: Path, load: Callable[[str], Embedder], votes: Callable[[str], dict[str, int]] = lambda name: {}) -> Source:
        """One collection, whose name is empty, or all collections in a folder by their names.

        Raises UsageError where there is none, and what is wrong where none can be opened.
        """
        several = {} if manifest.exists(folder) else manifest.within(folder)
        opened: dict[str, Collection] = {}
        broken: dict[str, str] = {}
        for name, place in (several or {"": folder}).items():
            try:
                opened[name] = Collection.open(place)
            except FAULTS as error:
                broken[name] = str(error)
                if len(broken) == max(1, len(several)):
                    raise
        return Source(opened, load, votes, broken)

    def chosen(self, name: str = "") -> str:
        """The collection that was asked for, by default the first in alphabetical order, whether it can be opened or not.

        Raises UnknownNameError where there is none of this name, DataError where it cannot be opened.
        """
        known = sorted({*self.collections, *self.broken})
        one = name or known[0]
        if one not in known:
            raise UnknownNameError("collection", one, [name or "the only one, which needs no name" for name in known])
        if one in self.broken:
            raise DataError(self.fault(one))
        return one

    def fault(self, name: str, error: object = None) -> str:
        """Why its subscribers get nothing, in words."""
        why = error or self.broken.get(name)
        return f"{which(name)} {f'cannot be read: {why}' if why else 'is gone'}; its subscribers wait"


def which(name: str) -> str:
    """A collection, in words.

    >>> which("ml"), which("")
    ("collection 'ml'", 'the collection')
    """
    return f"collection {name!r}" if name else "the collection"
