"""Rows that are made when their part is, and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from dipole.core.protocols import Row


class Made:
    """The rest of a ``Rows`` part that makes its rows at once: ``__post_init__`` ends with ``self.keep(rows, content)``.

    The rows are no parameters, so they lie beside the fields of the frozen part.
    """

    def keep(self, rows: Sequence[Row], content: bytes) -> None:
        """``content``: bytes that are equal where the rows are; the fingerprint is their sha256."""
        vars(self).update(_rows=rows, _fingerprint=hashlib.sha256(content).hexdigest())

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> Row:
        return self._kept[index]

    def __iter__(self) -> Iterator[Row]:
        return iter(self._kept)

    @property
    def fingerprint(self) -> str:
        """sha256 of what the rows hold."""
        return str(vars(self)["_fingerprint"])

    @property
    def _kept(self) -> Sequence[Row]:
        rows: Sequence[Row] = vars(self)["_rows"]
        return rows
