"""Whether who asks knows the key: written into a request's scope by the guard of that name, read by whoever tells something."""

from __future__ import annotations

from starlette.types import Scope

COOKIE = "dipole_session"  # that says somebody knew the key
KNOWS = "dipole.knows_key"  # in the scope


def knows_key(scope: Scope) -> bool:
    """Whether who asks knows the key, or none is needed. What is open to everybody may tell nothing of the collections otherwise."""
    return bool(scope.get(KNOWS, True))
