"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from dipole.core.errors import UsageError


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A place beside ``path`` to write to, moved to ``path`` at the end of the block; where the block fails, nothing is left behind."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def lasting(name: str, packaged: str = "minilm") -> str:
    """A model's name that holds wherever a process stands: a folder's in full, the ``packaged`` one's and a hub id as they are."""
    path = Path(name).expanduser()
    return str(path.resolve()) if name != packaged and path.is_dir() else name


def replace_rows(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write rows as JSON lines, whole or not at all."""
    replace_text(path, "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows))


def keep_secret(path: Path, secret: str) -> None:
    """Write a file that its owner alone can read, unless there is one. Of processes that do so at once, the first one's counts."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(secret)
    try:
        sync(temporary)
        os.link(temporary, path)
        sync(path.parent)
    except FileExistsError:
        return
    finally:
        temporary.unlink()


def own_folder(folder: Path) -> None:
    """Make a folder for what people do, for its owner alone, where it is missing. Raises UsageError where it cannot be written to."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        reason = "" if os.access(folder, os.W_OK | os.X_OK) else "it may not be written"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        remedy = "votes and subscribers are kept there; give another place for them with --state DIR"
        raise UsageError(f"{folder} cannot be written to: {reason}; {remedy}")


def lock(file: IO[str] | int, busy: Exception) -> None:
    """Take the system's lock on an open file or folder, which ends when it is closed or the process dies. Raises ``busy`` where another
    process has it."""
    import fcntl  # Windows has none, and reads this module too

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise busy from None


def sync(path: Path) -> None:
    """Have the system write a file or a folder's list of names to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
