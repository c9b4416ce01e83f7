"""The collections served: opened at the start, and swapped whole when somebody commits to one.

A new commit is opened beside the one in use and takes its place in one assignment; requests that are under way go on with
the commit they began with. What cannot be served (another model, another dimension, a damaged file) is refused by name,
and the commit before goes on answering.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dipole.core.errors import DataError, DipoleError, ModelMismatchError, UnknownNameError, UsageError
from dipole.search import manifest
from dipole.search.collection import Collection
from dipole.search.documents import Embedder
from dipole.serve.batched import Batched
from dipole.serve.held import Held

log = logging.getLogger("dipole.serve")
_AGAIN = 30.0  # seconds until a commit that was refused is tried once more: a model is not loaded in vain every second
_PATH = re.compile(r"(?<![\w.:/])/(?:[^/\s'\"]+/)+")


class NotReadyError(DipoleError):
    """The collections are still being opened."""


class Shelf:
    """Collections by name. ``folder`` is one collection, or a folder of them; ``load`` makes a model from its name.

    ``model``: serve by this model instead of the one each collection names. ``reloads`` counts commits taken up,
    ``refused`` says of each collection why its newest commit is not served.
    """

    def __init__(self, folder: Path, load: Callable[[str], Embedder], model: str = "") -> None:
        self.folder, self.model = folder, model
        self.refused: dict[str, str] = {}
        self.failure: DipoleError | None = None
        self.reloads = 0
        self._load = load
        self._held: dict[str, Held] = {}
        self._encoders: dict[str, Batched] = {}
        self._tried: dict[str, tuple[manifest.Manifest, float]] = {}  # name -> the commit last refused, and when it was tried
        self._ready, self._stop = threading.Event(), threading.Event()
        self._threads: list[threading.Thread] = []
        if not self._folders():
            raise UsageError(f"{folder} is neither a collection nor a folder of collections; make one with: dipole ingest {folder} FILE...")

    @property
    def ready(self) -> bool:
        """Whether every collection is open."""
        return self._ready.is_set()

    @property
    def names(self) -> Sequence[str]:
        """The collections, in alphabetical order."""
        return sorted(self._held)

    def get(self, name: str = "") -> Held:
        """The collection of this name; the first where the name is empty. Raises UnknownNameError, NotReadyError."""
        if not self.ready:
            raise NotReadyError("the collections are being opened")
        held = self._held
        found = held.get(name or min(held, default=""))
        if found is None:
            raise UnknownNameError("collection", name, held)
        return found

    def all(self) -> list[Held]:
        """Every collection, in alphabetical order."""
        return [held for _, held in sorted(self._held.items())]

    @property
    def encoded(self) -> dict[str, int]:
        """What the models did: ``batches``, and texts whose vectors were remembered (``hits``) or not (``misses``)."""
        models = list(self._encoders.values())
        return {name: sum(getattr(model, name) for model in models) for name in ("batches", "hits", "misses")}

    def open(self) -> None:
        """Open every collection and its model. Raises what makes one impossible to serve, with its name."""
        found = {name: self._opened(name, folder) for name, folder in self._folders().items()}
        for name, held in found.items():
            log.info("serving %s: %d documents, commit %d", name, len(held.collection), held.collection.manifest.number)
        self._held = found
        self._ready.set()

    def refresh(self) -> None:
        """Take up what was committed since; what cannot be served is refused, and what was served before stays."""
        folders, now, refused = self._folders(), dict(self._held), {}
        for name in set(now) - set(folders):
            log.warning("%s is gone and no longer served", name)
            del now[name]
        for name, folder in folders.items():
            try:
                newest = manifest.read(folder)
                if name in now and newest == now[name].collection.manifest:
                    continue
                tried, at = self._tried.get(name, (None, 0.0))
                if name in self.refused and newest == tried and time.monotonic() < at + _AGAIN:
                    refused[name] = self.refused[name]
                    continue
                self._tried[name] = newest, time.monotonic()
                now[name] = self._opened(name, folder, now.get(name))
            except DipoleError as error:
                refused[name] = f"{type(error).__name__.removesuffix('Error')}: {without_paths(str(error), folder)}"
                if self.refused.get(name) != refused[name]:
                    log.error("%s: a new commit is refused, the one before stays: %s", name, error)
            else:
                self.reloads += 1
                log.info("%s: now commit %d, %d documents", name, now[name].collection.manifest.number, len(now[name].collection))
        self._held, self.refused = now, refused

    def start(self, seconds: float, failed: Callable[[], None] = lambda: None) -> None:
        """Open in the background, then look for new commits every so many seconds. ``failed``: called where opening failed."""

        def work() -> None:
            try:
                self.open()
            except Exception as error:
                self.failure = error if isinstance(error, DipoleError) else DipoleError(f"{self.folder} cannot be served: {error!r}")
                log.error("cannot serve: %s", self.failure)
                failed()
                return
            while not self._stop.wait(seconds):
                try:
                    self.refresh()
                except Exception:
                    log.exception("looking for new commits failed; what is served stays")

        thread = threading.Thread(target=work, name="dipole-shelf", daemon=True)
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        """Stop looking for new commits, and stop the models."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=5)
        for encoder in self._encoders.values():
            encoder.close()

    def _folders(self) -> dict[str, Path]:
        if manifest.exists(self.folder):
            return {self.folder.resolve().name: self.folder}
        return manifest.within(self.folder)

    def _opened(self, name: str, folder: Path, before: Held | None = None) -> Held:
        collection = Collection.open(folder)
        held = collection.manifest
        if before is not None and held.identity != before.collection.manifest.identity:
            raise ModelMismatchError(
                f"collection {name!r} is now of model {held.model!r} ({held.identity[:12]}), served is "
                f"{before.collection.model!r} ({before.collection.manifest.identity[:12]}); restart the server to serve it"
            )
        encoder = self._encoder(self.model or held.model)
        if held.identity != encoder.identity:
            raise ModelMismatchError(
                f"collection {name!r} was made by {held.model!r} ({held.identity[:12]}), the model served is {encoder.model!r} "
                f"({encoder.identity[:12]}): their vectors cannot be compared; give its model with --model, or rebuild the collection"
            )
        if held.rows and held.dimension != encoder.dimension:
            raise ModelMismatchError(
                f"collection {name!r} has vectors of {held.dimension} dimensions, the model {encoder.model!r} gives {encoder.dimension}; "
                "rebuild the collection"
            )
        found = Held(name, collection, encoder)
        try:
            found.warm()
        except (OSError, RuntimeError, ValueError) as error:
            raise DataError("the collection cannot be searched", path=folder, value=str(error), remedy="dipole index --rebuild") from error
        return found

    def _encoder(self, model: str) -> Batched:
        if model not in self._encoders:
            self._encoders[model] = Batched(self._load(model))
        return self._encoders[model]


def without_paths(text: str, folder: Path) -> str:
    """An error's text for people outside: no folder of this machine in it, only the last name of a path.

    >>> without_paths("collection 'c' was made by '/srv/ann/models/mine'; see https://a.example/b/c", Path("."))
    "collection 'c' was made by 'mine'; see https://a.example/b/c"
    """
    for path in (folder.resolve(), folder.absolute(), folder) if folder.name else ():
        text = text.replace(str(path), folder.name)
    return _PATH.sub("", text)
