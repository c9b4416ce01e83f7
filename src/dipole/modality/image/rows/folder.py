"""Images from a folder of class folders, or from a CSV, TSV or JSONL file that names them.

photos/cat/1.jpg  photos/dog/7.png        label: the class folder's place in their order; positive: its name, as a caption
pairs.csv: image,caption                  paths count from the file's folder
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from dipole.core.errors import DataError, UsageError
from dipole.core.part import at_least, part, switch, words
from dipole.core.protocols import Row
from dipole.modality.image.pixels import pixels, resized
from dipole.rows.read import files_of, records

__all__ = ["Folder"]

ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
IMAGE = ("image", "path", "file", "file_name", "filename", "anchor")
CAPTION = ("caption", "captions", "text", "title", "description", "positive", "tags")
LABEL = ("label", "class", "category")


@part
class Folder:
    """Rows ``anchor`` (C, H, W) uint8, ``positive`` a caption or a list of them, ``label``, ``class``, ``path``.

    Raises UsageError where there is nothing to read, DataError with file and line where an entry cannot be used.
    """

    path: str = words(about="a folder of images or of class folders, or a CSV, TSV or JSONL file with paths and captions")
    grey: bool = switch(False, "one channel instead of three")
    size: int = at_least(0, 0, "pixels a side; larger and smaller images are brought to it; 0: as they are")
    opened: bool = switch(True, "anchor is the image; without, its path, which encoders and views open themselves")

    def __post_init__(self) -> None:
        place = Path(self.path).expanduser()
        entries = list(_from_file(place) if place.is_file() else _from_folder(place))
        if not entries:
            raise UsageError(f"image.folder: {place} holds no image; known endings: {' '.join(sorted(ENDINGS))}")
        names = sorted({str(entry["class"]) for entry in entries if "class" in entry})
        labels = {name: number for number, name in enumerate(names)}
        for entry in entries:
            if "class" in entry:
                entry["label"] = labels[str(entry["class"])]
        digest = hashlib.sha256()
        home = place if place.is_dir() else place.parent
        for entry in entries:
            where: Path = entry["path"]
            known = {k: v for k, v in entry.items() if k != "path"}
            said = [str(where.relative_to(home)) if where.is_relative_to(home) else str(where), where.stat().st_size, known]
            digest.update(json.dumps(said, sort_keys=True).encode())
        vars(self).update(_entries=entries, _fingerprint=digest.hexdigest())

    def __len__(self) -> int:
        return len(vars(self)["_entries"])

    def __getitem__(self, index: int) -> Row:
        entry: Mapping[str, Any] = vars(self)["_entries"][index]
        shown = {**entry, "path": str(entry["path"])}
        if not self.opened:
            return {"anchor": shown["path"], **shown}
        image = pixels(entry["path"], 1 if self.grey else 3, str(entry["path"]))
        image = resized(image, self.size) if self.size else image
        return {"anchor": (image * 255).round().to(torch.uint8), **shown}

    def __iter__(self) -> Iterator[Row]:
        return (self[index] for index in range(len(self)))

    @property
    def fingerprint(self) -> str:
        """sha256 of names, sizes in bytes, captions and classes, in order; the pixels themselves are not read for it."""
        found: str = vars(self)["_fingerprint"]
        return found


def _from_folder(place: Path) -> Iterator[dict[str, Any]]:
    if not place.is_dir():
        raise UsageError(f"image.folder: {place} is neither a folder nor a file")
    for file in sorted(p for p in place.rglob("*") if p.suffix.lower() in ENDINGS and not p.name.startswith(".")):
        inside = file.relative_to(place).parts
        if len(inside) == 1:
            yield {"path": file}
        else:
            yield {"path": file, "class": inside[0], "positive": inside[0].replace("_", " ").replace("-", " ")}


def _from_file(table: Path) -> Iterator[dict[str, Any]]:
    roles: dict[str, str] = {}
    for line, values in (entry for file in files_of(table) for entry in records(file)):
        if not roles:
            found = {role: next((n for n in values if n.strip().lower() in known), "") for role, known in _ROLES.items()}
            roles = {role: name for role, name in found.items() if name}
            if "path" not in roles:
                raise DataError("no column names the images", path=table, line=line, value=list(values), remedy=f"call it {IMAGE[0]!r}")
        name = values.get(roles["path"])
        file = table.parent / str(name)
        if not name or not file.is_file():
            raise DataError("there is no such image file", path=table, line=line, column=roles["path"], value=name)
        entry = {"path": file}
        for role in ("positive", "class"):
            value = values.get(roles.get(role, ""))
            if value not in (None, "", []):
                entry[role] = value
        yield entry


_ROLES = {"path": IMAGE, "positive": CAPTION, "class": LABEL}
