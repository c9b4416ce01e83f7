"""What could not become a document, and why: it is counted and reported, and the rest goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dipole.search.documents import Document


@dataclass(frozen=True)
class Refused:
    """``place`` as file, or file:line, or file: entry."""

    place: str
    why: str


Found = Iterator[Document | Refused]
Source = Callable[[Path], Found]
