"""The first pass over a file: its columns, what they hold, where that changes, and the content's hash."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dipole.core.errors import DataError
from dipole.rows.columns import TEXT_ROLES, Columns, missing_column
from dipole.rows.read import records

KINDS = {
    "text": "a text",
    "whole": "a whole number",
    "number": "a number",
    "switch": "true or false",
    "texts": "a list of texts",
    "wholes": "a list of whole numbers",
    "numbers": "a list of numbers",
    "nested": "nested data",
    "unbounded": "NaN or infinity",
}
_MERGED = {
    frozenset({"whole", "number"}): "number",
    frozenset({"wholes", "numbers"}): "numbers",
    frozenset({"text", "texts"}): "texts",
}


@dataclass
class Seen:
    """One column: the kinds of value it holds with the line each was first met on, and the first line without a value."""

    kinds: dict[str, int] = field(default_factory=dict)
    empty_at: int | None = None


@dataclass
class Survey:
    """What the first pass over one file found."""

    path: Path
    sha256: str
    rows: int
    columns: dict[str, Seen]

    def kind(self, column: str, strict: bool) -> str:
        """The one kind of a column, empty where it holds nothing. Mixed kinds raise DataError where ``strict``, and are
        kept as JSON otherwise.
        """
        kinds = self.columns[column].kinds
        if len(kinds) < 2:
            return next(iter(kinds), "")
        if merged := _MERGED.get(frozenset(kinds)):
            return merged
        if not strict:
            return "nested"
        (first, at), (second, line) = sorted(kinds.items(), key=lambda item: item[1])[:2]
        rule = f"the column holds {KINDS[first]} on line {at} and {KINDS[second]} here"
        raise DataError(rule, path=self.path, line=line, column=column, remedy="write all values of a column in one form")

    def check(self, roles: Columns) -> None:
        """Raise DataError with the line where a role's column holds what the role cannot be."""
        for role, names in roles.roles.items():
            for name in (n for n in names if n in self.columns):
                self._check_role(role, name)

    def _check_role(self, role: str, name: str) -> None:
        seen = self.columns[name]
        allowed = {"anchor": ("text",), "positive": ("text", "texts"), "negative": ("text", "texts")}.get(role)
        allowed = ("whole", "number", "wholes", "numbers") if role == "score" else allowed
        for kind, line in seen.kinds.items():
            if allowed is not None and kind not in allowed:
                rule = f"{role} must be {' or '.join(KINDS[k] for k in allowed[:2])}, not {KINDS[kind]}"
                raise DataError(rule, path=self.path, line=line, column=name, remedy="choose the columns: columns = 'role=column, ...'")
        if role in TEXT_ROLES[:2] and seen.empty_at is not None:
            rule = f"{role} must not be empty"
            raise DataError(rule, path=self.path, line=seen.empty_at, column=name, remedy="fill it or remove the line")


def survey(path: Path, header: bool, kind: str = "") -> Survey:
    """Read the file once. Raises DataError as :func:`dipole.rows.read.records` does, and for a file without rows."""
    if path.stat().st_size == 0:
        raise DataError("the file is empty", path=path, remedy="give a file with at least one row")
    columns: dict[str, Seen] = {}
    count = first = 0
    plain = (kind or path.suffix.lower().lstrip(".")) in ("csv", "tsv")
    for line, values in records(path, header, kind):
        count += 1
        first = first or line
        for name, value in values.items():
            seen = columns.get(name)
            if seen is None:
                seen = columns[name] = Seen(empty_at=None if count == 1 else first)
            met = _numeric(value) if plain else kind_of(value)
            if met is None:
                seen.empty_at = seen.empty_at or line
            elif met not in seen.kinds:
                seen.kinds[met] = line
        if len(values) < len(columns):
            for name, seen in columns.items():
                if name not in values and seen.empty_at is None:
                    seen.empty_at = line
    if count == 0:
        raise DataError("the file has no rows", path=path, remedy="give a file with at least one row")
    return Survey(path, _sha256(path), count, columns)


def settle_separated(found: Survey, roles: Columns) -> None:
    """CSV and TSV know texts only: labels and scores become numbers where every value is one, the rest stays text."""
    for name, seen in found.columns.items():
        role = next((r for r, names in roles.roles.items() if name in names), "")
        if not seen.kinds or (role == "score") or (role == "label" and set(seen.kinds) <= {"whole", "number"}):
            continue
        seen.kinds = {"text": min(seen.kinds.values())}


def one_form(found: list[Survey], roles: Columns) -> dict[str, str]:
    """The kind of each column, the same in all files. Raises DataError where a role's column is missing, mixed or of a wrong kind."""
    used = {name for columns in roles.roles.values() for name in columns}
    kinds: dict[str, str] = {}
    for one in found:
        for name in sorted(used - set(one.columns)):
            if not any(name in columns[1:] for columns in roles.roles.values()):
                raise missing_column(name, list(one.columns), str(one.path))
        one.check(roles)
        for name in one.columns:
            kind, before = one.kind(name, strict=name in used), kinds.get(name, "")
            merged = kind if not before or kind == before else _MERGED.get(frozenset({kind, before}), "") if kind else before
            if not merged and kind:
                if name in used:
                    rule = f"the column holds {KINDS[before]} in an earlier file and {KINDS[kind]} here"
                    raise DataError(rule, path=one.path, column=name, remedy="write all values of a column in one form")
                merged = "nested"
            kinds[name] = merged
    return {name: kind or "text" for name, kind in kinds.items()}


def kind_of(value: Any) -> str | None:
    """The kind of a JSON value; None for nothing (null, an empty text, an empty list)."""
    if value is None or (isinstance(value, (str, list, tuple)) and not len(value)):
        return None
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool):
        return "switch"
    if isinstance(value, int):
        return "whole" if -(2**63) <= value < 2**63 else "nested"
    if isinstance(value, float):
        return "number" if math.isfinite(value) else "unbounded"
    if isinstance(value, (list, tuple)):
        kinds = {kind_of(v) for v in value} - {None}
        if kinds <= {"text"}:
            return "texts"
        if kinds <= {"whole", "number"}:
            return "wholes" if kinds == {"whole"} else "numbers"
    return "nested"


def shaped(value: Any, kind: str) -> Any:
    """The value as its column stores it."""
    if value is None:
        return None
    if kind in ("nested", "unbounded"):
        return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str, ensure_ascii=False)
    if kind in ("whole", "number"):
        return None if value == "" else (int(value) if kind == "whole" else float(value))
    if kind in ("texts", "wholes", "numbers"):
        return [v for v in ([value] if isinstance(value, str) else value) if v is not None and v != ""]
    return value


def _numeric(value: str) -> str | None:
    if value == "":
        return None
    try:
        int(value)
        return "whole"
    except ValueError:
        try:
            return "number" if math.isfinite(float(value)) else "unbounded"
        except ValueError:
            return "text"


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
