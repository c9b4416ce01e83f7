"""What an audit says: findings with row numbers, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dipole.core.errors import UnknownNameError

KINDS: Mapping[str, str] = {
    "duplicate": "the same row again, or a positive that is its own anchor",
    "near-duplicate": "nearly the same row again",
    "positive-as-negative": "a negative that is a positive of its anchor, or scores like one",
    "leak": "a row that is also in a split or an evaluation set",
    "empty": "a row without a text where one belongs, or that cannot be read",
    "truncated": "texts longer than an encoder reads",
    "language": "texts of another language than the rest of their column",
    "label-suspect": "a label or a pair that its neighbours speak against",
}
FIXED = ("duplicate", "near-duplicate", "positive-as-negative", "leak", "empty")  # what ``--fix`` drops unless told otherwise


@dataclass(frozen=True)
class Finding:
    """``rows``: numbers from 1, of one file, as an editor shows them; of Parquet the row's place. ``file``: its name, where the data is
    in several."""

    kind: str
    rows: tuple[int, ...]
    said: str
    file: str = ""

    @property
    def message(self) -> str:
        """What was found, the file's name before it."""
        return f"{self.file}: {self.said}" if self.file else self.said


@dataclass(frozen=True)
class Drop:
    """Why ``--fix`` would drop a row. ``instead_of``: the index of the row that stays for it, None where none does."""

    why: str
    instead_of: int | None = None


@dataclass(frozen=True, eq=False)
class Report:
    """``dropped``: kind -> row index over all files, from 0 -> why ``--fix`` would drop it. ``negatives``: row index -> the negatives
    it would take out, in normal form. ``notes``: what was looked at, in words.
    """

    rows: int
    findings: Sequence[Finding]
    notes: Sequence[str]
    dropped: Mapping[str, Mapping[int, Drop]] = field(default_factory=dict)
    negatives: Mapping[int, Sequence[str]] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """Findings of each kind, every kind named."""
        return {kind: sum(f.kind == kind for f in self.findings) for kind in KINDS}

    def json(self) -> dict[str, Any]:
        """``{"findings": [{"kind", "rows", "message"}], "counts": {kind: findings}}``."""
        findings = [{"kind": f.kind, "rows": list(f.rows), "message": f.message} for f in self.findings]
        return {"findings": findings, "counts": self.counts}

    def text(self, most: int = 10) -> list[str]:
        """Lines for people: notes, then at most ``most`` findings of each kind."""
        lines = [*self.notes]
        for kind, count in self.counts.items():
            if not count:
                continue
            rows = len({(f.file, row) for f in self.findings if f.kind == kind for row in f.rows})
            lines.append(f"{kind}: {count} finding{'s' if count > 1 else ''}, {rows} row{'s' if rows != 1 else ''} ({KINDS[kind]})")
            shown = [f for f in self.findings if f.kind == kind][:most]
            lines += [f"    {_rows(f.rows)}: {f.message}" for f in shown]
            if count > most:
                lines.append(f"    and {count - most} more; --json has them all")
        return lines if any(self.counts.values()) else [*lines, "nothing found"]


def known_kinds(names: Sequence[str]) -> tuple[str, ...]:
    """The names of kinds, checked. Raises UnknownNameError with the nearest ones."""
    for name in names:
        if name not in KINDS:
            raise UnknownNameError("kind of finding", name, KINDS, "--drop")
    return tuple(names)


def _rows(rows: Sequence[int]) -> str:
    shown = ", ".join(map(str, rows[:8]))
    return f"row{'s' if len(rows) > 1 else ''} {shown}" + (f" and {len(rows) - 8} more" if len(rows) > 8 else "")
