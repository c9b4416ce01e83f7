"""dipole: contrastive learning and alignment. Train, compare, diagnose, search and align embeddings."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from dipole.core.pairs import Pairs as Pairs

_HOMES = {"Pairs": "dipole.core.pairs", "check": "dipole.train.check", "part": "dipole.core.part"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'dipole' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
