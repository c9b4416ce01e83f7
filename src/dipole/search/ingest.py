"""Files of all kinds into a collection: what is new is added, what changed replaced, what is the same left, the rest told.

    .jsonl .csv .tsv .parquet    rows            .bib                BibTeX
    .xml .rss .atom .opml        feeds, arXiv    .md .txt .py .pdf   one document a file
    .txt with lines such as "5 authors", or several "title / abstract" lines under --listing   a listing page
    a folder                     every file in it, and below it; links to other folders are not followed

Idempotent: the same files twice change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dipole.core.errors import UsageError
from dipole.search import manifest
from dipole.search.collection import Collection
from dipole.search.documents import Document, Embedder
from dipole.search.sources import bibtex, feeds, files, listing_page, tables
from dipole.search.sources.refused import Found, Refused, Source

STREAMS: dict[str, Source] = {
    **dict.fromkeys((".jsonl", ".ndjson", ".csv", ".tsv", ".parquet"), tables.read),
    ".bib": bibtex.read,
    **dict.fromkeys((".xml", ".rss", ".atom", ".opml"), feeds.read),
}
FILES: dict[str, Callable[[Path, str], Document | Refused]] = {
    ".md": files.markdown,
    ".markdown": files.markdown,
    ".txt": files.plain,
    ".py": files.python,
    ".pdf": files.pdf,
}
_SKIPPED = ("__pycache__", "node_modules")


@dataclass(frozen=True)
class Report:
    """What became of what was read: documents ``new``, ``changed``, ``same``; ``repeated`` ids within the files, of which
    the last counts; ``refused`` with place and reason.
    """

    new: int
    changed: int
    same: int
    repeated: int
    refused: tuple[Refused, ...]

    def json(self) -> dict[str, Any]:
        """As JSON can hold it."""
        told = [{"place": r.place, "why": r.why} for r in self.refused]
        return {"new": self.new, "changed": self.changed, "skipped": self.same, "repeated": self.repeated, "refused": told}


def ingest(
    folder: str | Path,
    paths: Sequence[str | Path],
    model: Embedder,
    *,
    listing: bool = False,
    batch_size: int = 32,
    told: Callable[[int], None] = lambda done: None,
) -> tuple[Collection, Report]:
    """Read the files into the collection, which is made where there is none. ``listing``: .txt files are listing pages.

    ``told`` is called with the number of documents read so far. Raises UsageError for a path that does not exist or an
    ending nobody reads; everything smaller is refused and reported. All or nothing: a killed run changes nothing.
    """
    chosen = [Path(path).expanduser() for path in paths]
    for path in chosen:
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder")
        if path.is_file() and path.suffix.lower() not in {**STREAMS, **FILES}:
            raise UsageError(f"{path}: unknown ending {path.suffix!r}; known: {', '.join(sorted({**STREAMS, **FILES}))}")
    refused: list[Refused] = []
    documents: dict[str, Document] = {}
    read = 0
    for one in found_in(chosen, listing):
        if isinstance(one, Refused):
            refused.append(one)
            continue
        read += 1
        documents[one.id] = one
        told(read)
    if not manifest.exists(Path(folder)):
        made = Collection.create(folder, documents.values(), model, batch_size)
        return made, Report(len(documents), 0, 0, read - len(documents), tuple(refused))
    made, changes = Collection.open(folder).upsert(documents.values(), model, batch_size)
    return made, Report(changes.new, changes.changed, changes.same, read - len(documents), tuple(refused))


def found_in(paths: Iterable[Path], listing: bool = False) -> Found:
    """Every document of these files and folders."""
    for root in paths:
        for path in _below(root):
            yield from _of_file(path, path.relative_to(root).as_posix() if root.is_dir() else path.name, listing)


def _of_file(path: Path, id: str, listing: bool) -> Found:
    ending = path.suffix.lower()
    try:
        str(path).encode()
    except UnicodeEncodeError:
        yield Refused(str(path).encode(errors="backslashreplace").decode(), "the file's name is not UTF-8; give it another")
        return
    try:
        if ending in STREAMS:
            read = False
            for one in STREAMS[ending](path):
                read = True
                yield one
            if not read:
                yield Refused(str(path), "the file holds no records")
        elif ending == ".txt" and (listing or listing_page.looks_like_one(path.read_text(encoding="utf-8", errors="replace"))):
            yield from listing_page.read(path)
        else:
            yield FILES[ending](path, id)
    except OSError as error:
        yield Refused(str(path), f"the file cannot be read: {error.strerror or error}")


def _below(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root).parts
        hidden = any(part.startswith(".") or part in _SKIPPED for part in inside)
        if path.is_file() and not hidden and path.suffix.lower() in {**STREAMS, **FILES}:
            yield path
