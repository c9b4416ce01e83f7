"""Maps drawn in the background, once for each version of a collection, and kept on disk."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from pathlib import Path
from urllib.parse import quote

from dipole.core.files import replace_text
from dipole.serve.held import Held
from dipole.serve.page.atlas import Atlas, Region, draw

log = logging.getLogger("dipole.serve")
_FORM = 1  # of the files


class Atlases:
    """The newest map of each collection. ``folder``: where drawn maps are kept, so that a restart does not draw again."""

    def __init__(self, folder: Path, how: str = "pca") -> None:
        self.folder, self.how = folder, how
        self._lock = threading.Lock()
        self._held: dict[str, tuple[str, Atlas]] = {}
        self._drawing: dict[str, threading.Thread] = {}

    def of(self, held: Held, wait: float = 0.0) -> Atlas | None:
        """The map of this version; None while it is being drawn, which begins here where nobody has begun it, and which is
        waited for so many seconds.
        """
        with self._lock:
            known = self._held.get(held.name)
            if known is not None and known[0] == held.version:
                return known[1]
            drawing = self._drawing.get(held.name)
            if drawing is None:
                drawing = threading.Thread(target=self._draw, args=(held,), name="dipole-map", daemon=True)
                self._drawing[held.name] = drawing
                drawing.start()
        if wait:
            drawing.join(wait)
            return self.of(held)
        return None

    def _draw(self, held: Held) -> None:
        try:
            path = self.folder / f"{quote(held.name, safe='')}.json"
            atlas = _kept(path, held.version, self.how)
            if atlas is None:
                atlas = draw(held.collection, self.how)
                self.folder.mkdir(parents=True, exist_ok=True)
                regions = [[r.name, r.count, r.x, r.y, r.middle] for r in atlas.regions]
                kept = {"form": _FORM, "version": held.version, "how": self.how, "about": atlas.about, "regions": regions}
                replace_text(path, json.dumps({**kept, "points": atlas.points}, ensure_ascii=False))
            with self._lock:
                self._held[held.name] = (held.version, atlas)
        except Exception:
            log.exception("the map of %s could not be drawn", held.name)
            with self._lock:
                self._held[held.name] = (held.version, Atlas("", (), ()))
        finally:
            with self._lock:
                del self._drawing[held.name]


def _kept(path: Path, version: str, how: str) -> Atlas | None:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        held = json.loads(path.read_text(encoding="utf-8"))
        if (held["form"], held["version"], held["how"]) == (_FORM, version, how):
            regions = tuple(Region(name, count, x, y, tuple(map(tuple, middle))) for name, count, x, y, middle in held["regions"])
            return Atlas(held["about"], regions, tuple(tuple(point) for point in held["points"]))
    return None
