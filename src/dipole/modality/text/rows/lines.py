"""One text a line: any UTF-8 text file, or all ``.txt`` files of a folder. Blank lines are skipped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dipole.core.part import part, words
from dipole.core.protocols import Row
from dipole.rows.file import File

__all__ = ["Lines"]


@part
class Lines:
    """Rows ``{"anchor": line}``. Errors: see :class:`dipole.rows.file.File`."""

    path: str = words(about="a text file of any ending, or a folder of .txt files")

    def __post_init__(self) -> None:
        kind = "" if Path(self.path).expanduser().is_dir() else "txt"
        object.__setattr__(self, "_file", File(path=self.path, columns="anchor=text", kind=kind))

    def __len__(self) -> int:
        return len(self._rows())

    def __getitem__(self, index: int) -> Row:
        return self._rows()[index]

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows())

    @property
    def fingerprint(self) -> str:
        """sha256 of the content."""
        return self._rows().fingerprint

    def _rows(self) -> File:
        file: File = vars(self)["_file"]
        return file
