"""What vectors look like: one function a diagnostic, tensors in, numbers out. ``docs/diagnostics.md`` lists them all."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dipole.diagnostics.estimate import Estimate as Estimate
    from dipole.diagnostics.geometry import alignment as alignment
    from dipole.diagnostics.geometry import anisotropy as anisotropy
    from dipole.diagnostics.geometry import tolerance as tolerance
    from dipole.diagnostics.geometry import uniformity as uniformity
    from dipole.diagnostics.spectrum import effective_rank as effective_rank
    from dipole.diagnostics.spectrum import singular_values as singular_values
    from dipole.diagnostics.spectrum import stable_rank as stable_rank

HOMES = {
    "Estimate": "estimate",
    "alignment": "geometry",
    "anisotropy": "geometry",
    "tolerance": "geometry",
    "uniformity": "geometry",
    "effective_rank": "spectrum",
    "singular_values": "spectrum",
    "stable_rank": "spectrum",
}


def __getattr__(name: str) -> Any:
    if name in HOMES:
        return getattr(importlib.import_module(f"dipole.diagnostics.{HOMES[name]}"), name)
    raise AttributeError(f"module 'dipole.diagnostics' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *HOMES])
