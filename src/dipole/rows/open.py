"""Open a data file in one call."""

from __future__ import annotations

from pathlib import Path

from dipole.rows.file import File


def open_rows(path: str | Path, **roles: str) -> File:
    """The rows of a file or folder; ``roles`` says which column plays a role the names do not tell.

    ``open_rows("faq.csv", anchor="title", positive="reply")``. Errors: see :class:`dipole.rows.file.File`.
    """
    return File(path=str(path), columns=", ".join(f"{role}={column}" for role, column in roles.items() if column))
