"""Take a role out of rows, with an error that names the row, the role and what there is."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from dipole.core.errors import DataError
from dipole.core.protocols import Row


def take(rows: Sequence[Row], role: str, view: str) -> list[Any]:
    """The value of ``role`` of every row. Raises DataError where a row has none."""
    values = []
    for place, row in enumerate(rows):
        value = row.get(role)
        if value is None or value == "":
            near = difflib.get_close_matches(role, row, n=1)
            remedy = f"did you mean {near[0]!r}?" if near else f"the row has {', '.join(map(repr, row)) or 'nothing'}"
            raise DataError(f"{view}: row {place} of the batch has no {role!r}", column=role, remedy=remedy)
        values.append(value)
    return values


def as_list(value: Any) -> list[Any]:
    """Several values as a list: a list stays one, a single value becomes one, nothing and empty texts vanish."""
    if value is None or value == "":
        return []
    if isinstance(value, (list, tuple)):
        return [v for v in value if v is not None and v != ""]
    return [value]
