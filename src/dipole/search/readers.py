"""Who reads a table, so that no writer deletes it under their hands.

A reader holds a shared lock on the table's folder, and a writer takes it alone before it deletes the folder: what is read stays, and
goes with the first write after the last reader. The lock is the system's (flock), which needs no right to write to the folder and ends
with the process that held it. File systems without such locks (some network ones) protect nothing: there a table goes when no commit
names it any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dipole.search.places import Place, Remote


class Reader:
    """Keeps a table from being deleted, until it is given up or forgotten. ``lost``: it came too late, the table is gone.

    A table without a name, and one in object storage, where nothing is deleted, needs no keeping.
    """

    def __init__(self, folder: Place, table: str) -> None:
        self.lost = False
        self._end: Callable[[], Any] = lambda: None
        self._table = folder / f"{table}.lance" if table and not isinstance(folder, Remote) else None
        self._keep()

    def _keep(self) -> None:
        if self._table is None:
            return
        try:
            descriptor = os.open(self._table, os.O_RDONLY)
        except OSError:
            self.lost = True
            return
        self._end = weakref.finalize(self, os.close, descriptor)
        with contextlib.suppress(OSError):  # there are no such locks
            fcntl.flock(descriptor, fcntl.LOCK_SH)  # waits for who is deleting it
        self.lost = not self._table.exists()

    @contextlib.contextmanager
    def giving_up(self, really: bool) -> Iterator[None]:
        """Let it be deleted from here on; where the block fails, nothing became of that and it is kept again."""
        if really:
            self._end()
        try:
            yield
        except BaseException:
            if really:
                self._keep()
            raise


def delete_unread(table: Path) -> None:
    """Delete a table's folder unless somebody reads it."""
    descriptor = os.open(table, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        except OSError:  # there are no such locks
            pass
        shutil.rmtree(table)
    finally:
        os.close(descriptor)
