"""Import what an extra brings, or say which line installs it."""

from __future__ import annotations

import importlib
from types import ModuleType

from dipole.core.errors import MissingExtraError


def need(module: str, extra: str, needed_for: str) -> ModuleType:
    """Import ``module``; where it is missing, raise :class:`MissingExtraError` with the pip line.

    >>> need("math", "text", "square roots").sqrt(4)
    2.0
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(error.name + ".")):
            raise MissingExtraError(extra, needed_for, module) from error
        raise
