"""``Spec``: a recipe file as data: read, merged with variant and overrides, not yet built.

spec = load("simcse", variant="supervised", changes=["step.batch_size=32"])
"""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dipole.assembly.discover import ROOT, SLOTS
from dipole.core.errors import UnknownNameError, UsageError

RECIPES = ROOT / "recipes"
LISTS = ("rows", "encoder", "negatives", "losses", "regularizers")  # slots that may hold several parts
_TABLES = ("schema", "extends", "paper", "parts", "origin", "variants", "small")
_PAPER = ("n", "title", "url", "year", "area", "kind", "tags", "status", "shown", "gives", "deviations")
Entry = dict[str, Any]


@dataclass(frozen=True)
class Spec:
    """A recipe: ``parts`` maps each slot to its entries, each with ``use`` and parameters.

    ``origin``: pattern of a number's place (``step.batch_size``) -> where it comes from. ``places``: place -> the
    override that set it. ``variants``: their names. ``text``: the file's.
    """

    id: str
    path: Path
    paper: Mapping[str, Any]
    parts: Mapping[str, list[Entry]]
    origin: Mapping[str, str]
    small: Mapping[str, Any]
    variants: tuple[str, ...]
    variant: str = ""
    places: Mapping[str, str] = field(default_factory=dict)
    text: str = ""

    def where(self, slot: str, number: int = 0, key: str = "use") -> str:
        """``file:line`` of a parameter, or the override it came from."""
        for place in (f"{slot}.{number}.{key}", f"{slot}.{number}", slot):
            if place in self.places:
                return self.places[place]
        line = _line(self.text, self.variant, slot, number, key)
        return f"{self.path}:{line}" if line else str(self.path)

    def changed(self, changes: Mapping[str, Any], why: str) -> Spec:
        """With slots replaced or merged; ``why`` names the place in errors."""
        parts = merged(self.parts, changes, why)
        return replace(self, parts=parts, places={**self.places, **dict.fromkeys(changes, why)})


def recipe_files() -> dict[str, Path]:
    """The recipes that come with dipole, by id."""
    return {file.stem: file for file in sorted(RECIPES.glob("*/*.toml"))}


def load(name: str | Path, variant: str = "", changes: Sequence[str] = ()) -> Spec:
    """Read a recipe by id or file. ``changes``: ``slot.parameter=value``, as on the command line.

    Raises UsageError and UnknownNameError, with file and line, for anything the file must not hold.
    """
    path = _path(name)
    data = _read(path)
    extends = data.get("extends")
    if extends is not None:
        base = _read(_path(extends, f"{path}: extends"))
        if "extends" in base:
            raise UsageError(f"{path}: extends {extends!r}, which extends another recipe itself; only one level is allowed")
        data = {
            **data,
            "parts": merged(_entries(base.get("parts", {}), str(path)), data.get("parts", {}), str(path)),
            "origin": {**base.get("origin", {}), **data.get("origin", {})},
            "variants": {**base.get("variants", {}), **data.get("variants", {})},
            "small": data.get("small", base.get("small", {})),
        }
    parts = merged({}, data.get("parts", {}), str(path))
    variants, origin, small = data.get("variants", {}), dict(data.get("origin", {})), dict(data.get("small", {}))
    if variant:
        if variant not in variants:
            raise UnknownNameError("variant", variant, variants, str(path))
        change = dict(variants[variant])
        origin.update(change.pop("origin", {}))
        small.update(change.pop("small", {}))
        parts = merged(parts, change, f"{path}: variants.{variant}")
    spec = Spec(
        path.stem, path, data.get("paper", {}), parts, origin, small, tuple(variants), variant, {}, path.read_text(encoding="utf-8")
    )
    for setting in changes:
        spec = _set(spec, setting)
    return spec


def merged(parts: Mapping[str, list[Entry]], changes: Mapping[str, Any], where: str) -> dict[str, list[Entry]]:
    """``changes`` over ``parts``: an entry with ``use`` (or a bare name) replaces, one without adds parameters.

    An encoder's wrappers stay where one entry is given for the encoder; a list replaces them too.
    """
    result = copy.deepcopy(dict(parts))
    for slot, change in changes.items():
        if slot not in SLOTS:
            raise UnknownNameError("slot", slot, SLOTS, where)
        present = result.get(slot, [])
        wrappers = present[1:] if slot == "encoder" and not isinstance(change, list) else []
        if isinstance(change, Mapping) and "use" not in change and len(present) - len(wrappers) == 1:
            present[0].update(change)
        else:
            result[slot] = _entries({slot: change}, where)[slot] + wrappers
    return result


def _entries(parts: Mapping[str, Any], where: str) -> dict[str, list[Entry]]:
    """Every slot as a list of entries that say ``use``."""
    found: dict[str, list[Entry]] = {}
    for slot, given in parts.items():
        if slot not in SLOTS:
            raise UnknownNameError("slot", slot, SLOTS, where)
        several = given if isinstance(given, list) else [given]
        if len(several) != 1 and slot not in LISTS:
            raise UsageError(f"{where}: {slot} holds one part, got {len(several)}")
        entries = [{"use": e} if isinstance(e, str) else dict(e) if isinstance(e, Mapping) else e for e in several]
        for number, entry in enumerate(entries):
            if not isinstance(entry, dict):
                raise UsageError(f'{where}: {slot} must be a table such as {{ use = "..." }}, got {entry!r}')
            if slot in ("step", "batches"):
                entry.setdefault("use", slot)
            if not isinstance(entry.get("use"), str):
                raise UsageError(f'{where}: {slot}{f".{number}" if len(entries) > 1 else ""} must name a part: use = "..."')
        found[slot] = entries
    return found


def _path(name: str | Path, where: str = "") -> Path:
    text = str(name)
    if text.endswith(".toml") or "/" in text:
        path = Path(text)
        if not path.is_file():
            raise UsageError(f"{path}: there is no such recipe file; `dipole recipes` lists those that come with dipole")
        return path
    files = recipe_files()
    if text not in files:
        raise UnknownNameError("recipe", text, files, where)
    return files[text]


def _read(path: Path) -> dict[str, Any]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: is not valid TOML: {error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    for known, table, place in ((_TABLES, data, ""), (_PAPER, data.get("paper", {}), "paper")):
        for key in table:
            if key not in known:
                raise UnknownNameError("key", key, known, f"{path}:{_line_of_key(data, path, key)}{f': [{place}]' if place else ''}")
    if data.get("schema") != 1:
        raise UsageError(f"{path}: must begin with schema = 1, got {data.get('schema')!r}")
    return data


def _set(spec: Spec, change: str) -> Spec:
    """One ``slot.parameter=value``, ``losses.0.parameter=value``, ``encoder.image.parameter=value`` (a part inside) or ``slot=part``."""
    path, equals, raw = change.partition("=")
    where = f"--set {change}"
    words = path.strip().split(".")
    if not equals or not all(words):
        raise UsageError(f"{where}: write slot.parameter=value, for example step.batch_size=32")
    try:
        value = tomllib.loads(f"x = {raw}")["x"]
    except tomllib.TOMLDecodeError:
        value = raw.strip()
    slot, rest = words[0], words[1:]
    if slot not in SLOTS:
        raise UnknownNameError("slot", slot, SLOTS, where)
    if not rest:
        return spec.changed({slot: value}, where)
    parts = copy.deepcopy(dict(spec.parts))
    entries = parts.setdefault(slot, _entries({slot: {}}, where)[slot] if slot in ("step", "batches") else [])
    number = int(rest.pop(0)) if rest[0].isdigit() else 0
    if number >= len(entries) or not rest:
        raise UsageError(f"{where}: {slot} holds {len(entries)} part(s); write {slot}.parameter=value or {slot}.0.parameter=value")
    entry = entries[number]
    for name in rest[:-1]:  # into a part inside the part
        held = entry.get(name)
        if not isinstance(held, (str, dict)):
            raise UsageError(f"{where}: {slot} holds no part {name!r}; name it first: {slot}.{name}=PART")
        entry[name] = {"use": held} if isinstance(held, str) else held
        entry = entry[name]
    entry[rest[-1]] = value
    return replace(spec, parts=parts, places={**spec.places, f"{slot}.{number}.{rest[0]}": where})


def _line_of_key(data: Any, path: Path, key: str) -> int:
    lines = path.read_text(encoding="utf-8").splitlines()
    wanted = re.compile(rf'^\s*\[?\[?"?{re.escape(key)}"?[\].\s=]')
    return next((n for n, line in enumerate(lines, 1) if wanted.match(line)), 1)


def _line(text: str, variant: str, slot: str, number: int, key: str) -> int:
    """The line of ``key`` of the slot's entry ``number``, in the variant's table or else in [parts]; 0 if nowhere."""
    wanted = re.compile(rf'(^|[\s{{,])("?{re.escape(key)}"?)\s*=', re.MULTILINE)
    for table in ([f"variants.{variant}"] if variant else []) + ["parts"]:
        until_header = r"((?:.*\n(?!\[))*.*)"
        headers = re.finditer(rf"^\[+{re.escape(table)}\.{slot}\]+{until_header}", text, re.MULTILINE)
        own = [(m.start(1), m.end(1)) for m in headers]
        if not own and (whole := re.search(rf"^\[{re.escape(table)}\]{until_header}", text, re.MULTILINE)):
            entry = re.compile(rf"^{slot}\s*=((?:.*\n(?!\w|\[))*.*)", re.MULTILINE).search(text, whole.start(1), whole.end(1))
            if entry:
                inner = [
                    (m.start(), m.end()) for m in re.compile(r"\{(?:[^{}]|\{[^{}]*\})*\}").finditer(text, entry.start(1), entry.end(1))
                ]
                own = inner or [(entry.start(), entry.end())]
        if number < len(own):
            start, stop = own[number]
            found = wanted.search(text, start, stop)
            if found or key == "use":
                return text.count("\n", 0, found.start(2) if found else start) + 1
    return 0
