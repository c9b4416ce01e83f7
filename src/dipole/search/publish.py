"""A local collection made to be read from object storage."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from dipole.search import manifest
from dipole.search.manifest import Manifest
from dipole.search.places import Remote

_LAST = "_versions"  # what names a table's other files is uploaded after them; of all files, only these have names that come again
_PART = 8 * 2**20


def publish(folder: Path, to: Remote, told: Callable[[str], None] = lambda name: None) -> tuple[Manifest, int]:
    """Bring what counts in ``folder`` to ``to``; the manifest and the number of files uploaded. What is there already is not sent again.

    Until the end, and where it fails, what counted there goes on to count. Nothing is removed there: those who have an earlier
    collection open go on reading it. The folder cannot be written meanwhile.
    """
    with manifest.writing(folder):
        now = manifest.read(folder)
        there, sent = to.sizes(), 0
        table = folder / f"{now.table}.lance"
        files = (
            sorted((file for file in table.rglob("*") if file.is_file()), key=lambda file: (_LAST in file.parts, file)) if now.rows else []
        )
        for file in files:
            name = file.relative_to(folder).as_posix()
            if there.get(name) != file.stat().st_size or (_LAST in file.parts and (to / name).read_bytes() != file.read_bytes()):
                (to / name).write(_parts(file))
                told(name)
                sent += 1
        text = json.dumps(dataclasses.asdict(now), indent=1).encode()
        (to / f"versions/{now.number:06d}.json").write([text])
        (to / manifest.NAME).write([text])
        return now, sent


def _parts(file: Path) -> Iterator[bytes]:
    with open(file, "rb") as stream:
        while part := stream.read(_PART):
            yield part
