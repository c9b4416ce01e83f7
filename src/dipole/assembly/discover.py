"""Which parts there are: the modules of a slot's folders that declare one. Nothing is registered, nothing imported.

``losses/softmax/dcl.py`` answers to ``dcl``; ``modality/text/encoders/transformer.py`` to ``text.transformer``.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dipole.core.errors import DipoleError, MissingExtraError, UnknownNameError
from dipole.core.part import is_part

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "rows": "rows",
    "views": "views",
    "encoder": "encoders",
    "score": "pairwise/scores",
    "negatives": "negatives",
    "losses": "losses",
    "regularizers": "regularizers",
    "balance": "balance",
}
SINGLE = {"batches": ("dipole.train.batches", "Batches"), "step": ("dipole.train.step", "Step")}
CORE = {"score": {"dot": ("dipole.core.scores", "Dot")}}  # the default of every Pairs, so it lives below the folder of its slot
# In the order data flows.
SLOTS = ("rows", "batches", "views", "encoder", "score", "negatives", "losses", "regularizers", "balance", "step")
_PART = re.compile(r"^@part\nclass (\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Found:
    """A part that can be named in a slot."""

    slot: str
    name: str
    module: str
    cls: str

    def load(self) -> type:
        """Import the class. Raises MissingExtraError where its packages are not installed."""
        try:
            module = importlib.import_module(self.module)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.split(".")[0] == "dipole":
                raise
            words = self.module.split(".")
            extra = words[2] if words[1] == "modality" else words[1]
            raise MissingExtraError(extra, f"{self.slot} {self.name!r}", error.name) from error
        loaded = getattr(module, self.cls)
        if not is_part(loaded):
            raise DipoleError(f"{self.module}: {self.cls} is not declared with @part")
        return loaded  # type: ignore[no-any-return]


@cache
def discover(slot: str) -> dict[str, Found]:
    """The parts of a slot by name. Raises UnknownNameError for a slot there is not."""
    if slot in SINGLE:
        return {slot: Found(slot, slot, *SINGLE[slot])}
    if slot not in FOLDERS:
        raise UnknownNameError("slot", slot, SLOTS)
    found = {name: Found(slot, name, *where) for name, where in CORE.get(slot, {}).items()}
    places = [("", ROOT / FOLDERS[slot])]
    places += [
        (f"{m.name}.", ROOT / "modality" / m.name / FOLDERS[slot]) for m in pkgutil.iter_modules([str(ROOT / "modality")]) if m.ispkg
    ]
    for prefix, folder in places:
        for file in _modules(folder):
            declared = _PART.findall(file.read_text(encoding="utf-8"))
            if not declared:
                continue
            name = prefix + file.stem
            module = "dipole." + ".".join(file.relative_to(ROOT).with_suffix("").parts)
            if name in found:
                raise DipoleError(f"two modules answer to {slot} {name!r}: {found[name].module} and {module}; rename one")
            named = next((c for c in declared if c.lower() == file.stem.replace("_", "")), declared[0])
            found[name] = Found(slot, name, module, named)
    return dict(sorted(found.items()))


def find(slot: str, name: str, where: str = "") -> Found:
    """The part of that name. Raises UnknownNameError with the nearest ones."""
    known = discover(slot)
    if name not in known:
        raise UnknownNameError(f"{slot} part", name, known, where)
    return known[name]


def _modules(folder: Path) -> Iterator[Path]:
    for info in pkgutil.iter_modules([str(folder)]):
        if info.ispkg:
            yield from _modules(folder / info.name)
        else:
            yield folder / f"{info.name}.py"
