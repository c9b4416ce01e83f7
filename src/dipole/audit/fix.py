"""``--fix``: a cleaned copy of audited files, audited again until it is clean, and a list of what was dropped and why.

Beside ``CLEAN`` lies ``CLEAN.dropped``, one JSON object a line: row, kind, reason, and the row as it was (or the negative that was
taken out of it). Both are written under another name and moved; where something fails, neither is there.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dipole.audit.findings import FIXED, KINDS, Report
from dipole.audit.rewrite import rewrite
from dipole.audit.run import Settings, report_on
from dipole.audit.source import Source, open_source
from dipole.core.errors import DataError, UsageError
from dipole.rows.read import FORMATS

_ROUNDS = 8  # each drops something; real data needs two
_ORDER = ("empty", "leak", *(kind for kind in KINDS if kind not in ("empty", "leak")))  # copies after what goes whatever stays


@dataclass(frozen=True)
class Cleaned:
    """``rows``: kept, of all that were there. ``dropped``: kind -> rows; ``negatives``: taken out of rows that stay."""

    place: Path
    rows: int
    of: int
    dropped: Mapping[str, int]
    negatives: int

    def text(self) -> str:
        """One line."""
        told = [f"{count} {kind}" for kind, count in self.dropped.items()]
        told += [f"{self.negatives} negatives taken out of rows that stay"] if self.negatives else []
        what = ", ".join(told) or "nothing"
        return f"{self.place}: {self.rows} of {self.of} rows; dropped: {what}" + (f"; why: {self.place}.dropped" if told else "")


def audit_and_fix(
    data: str | Path | Sequence[str | Path], clean: str | Path, settings: Settings | None = None, kinds: Sequence[str] = FIXED
) -> tuple[Report, Cleaned]:
    """Audit, and write a copy without what was found. ``clean``: a new file of the data's format; a new folder for several files.

    Rows are dropped for ``kinds``; of a ``positive-as-negative`` only the negative goes. Of equal or nearly equal rows the first
    stays. Raises UsageError where ``clean`` exists or has another ending, DataError where no row would be left or a file cannot be
    copied in parts (an open quote in CSV); otherwise as :func:`dipole.audit.run.audit`.
    """
    settings = settings or Settings()
    places = [data] if isinstance(data, (str, Path)) else list(data)
    source = open_source(places, settings.columns, settings.header)
    target = Path(clean).expanduser()
    _check(target, source)
    report = report_on(source, settings)
    for finding in report.findings:
        if "unexpected end of data" in finding.message and finding.kind == "empty":
            rule = "a quote is left open here, so rows after it cannot be told apart"
            raise DataError(rule, path=source.files[0], line=finding.rows[0], remedy="close it, then audit again")
    work = Path(tempfile.mkdtemp(prefix=".audit.", dir=target.parent))
    try:
        cleaned = _clean(source, report, settings, kinds, target, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return report, cleaned


def _clean(source: Source, report: Report, settings: Settings, kinds: Sequence[str], target: Path, work: Path) -> Cleaned:
    bare = replace(settings, readers=() if "truncated" not in kinds else settings.readers, teacher=None)
    origin = [source.where(index) for index in range(report.rows)]  # of each row that is left: file and number in the data
    several = len(source.files) > 1
    counts: Counter[str] = Counter()
    negatives = 0
    lines: list[dict[str, Any]] = []
    current, found = source, report
    for round_ in range(_ROUNDS):
        drop = _chosen(found, kinds)
        out = {i: texts for i, texts in found.negatives.items() if i not in drop} if "positive-as-negative" in kinds else {}
        if not drop and not out and round_:
            break
        if len(drop) == len(origin):
            raise DataError("no row would be left", path=source.files[0], remedy="look at the findings; drop fewer kinds with --drop")
        folder = work / str(round_)
        folder.mkdir()
        places = _written(current, drop, out, origin, several, lines, folder)
        counts.update(kind for kind, _ in drop.values())
        negatives += sum(map(len, out.values()))
        origin = [place for index, place in enumerate(origin) if index not in drop]
        current = Source(places, source.columns, source.header)
        found = report_on(current, bare)
    else:
        raise DataError(f"still not clean after {_ROUNDS} rounds", path=target, remedy="audit the data again after dropping by hand")
    lines.sort(key=lambda line: (line["at"], line["row"]))
    dropped = "".join(json.dumps({k: v for k, v in line.items() if k != "at"}, ensure_ascii=False, default=str) + "\n" for line in lines)
    beside = target.with_name(target.name + ".dropped")
    if dropped:
        (work / "dropped").write_text(dropped, encoding="utf-8")
        os.replace(work / "dropped", beside)
    try:
        os.replace(current.files[0].parent if several else current.files[0], target)
    except BaseException:
        if dropped:
            beside.unlink()
        raise
    return Cleaned(target, len(origin), report.rows, dict(counts), negatives)


def _chosen(found: Report, kinds: Sequence[str]) -> dict[int, tuple[str, str]]:
    """Row index -> the kind and reason it is dropped for. A copy whose first row goes too waits for the next round."""
    drop: dict[int, tuple[str, str]] = {}
    for kind in _ORDER:
        for index, row in (found.dropped.get(kind, {}) if kind in kinds else {}).items():
            if index not in drop and (row.instead_of is None or row.instead_of not in drop):
                drop[index] = (kind, row.why)
    return drop


def _written(
    current: Source,
    drop: Mapping[int, tuple[str, str]],
    out: Mapping[int, Sequence[str]],
    origin: Sequence[tuple[int, int]],
    several: bool,
    lines: list[dict[str, Any]],
    folder: Path,
) -> list[Path]:
    """Copies of the current files in ``folder``, rows and negatives left out; ``lines`` gets a line for each."""
    places = []
    bounds = [*current.starts, len(current.numbers)]
    for number, path in enumerate(current.files):
        own = range(bounds[number], bounds[number + 1])
        index_of = {current.numbers[index]: index for index in own}

        def told(index: int, **more: Any) -> None:
            file, row = origin[index]
            named = {"file": path.name} if several else {}  # noqa: B023 (called within this turn)
            lines.append({"at": file, **named, "row": row, **more})

        def gone(row: int, was: Any) -> None:
            kind, why = drop[index_of[row]]  # noqa: B023
            told(index_of[row], kind=kind, reason=why, record=was)  # noqa: B023

        for index in own:
            for text in out.get(index, ()):
                told(index, kind="positive-as-negative", reason="taken out of a row that stays", negative=text)
        rows = {current.numbers[index] for index in own if index in drop}
        taken = {current.numbers[index]: set(out[index]) for index in own if index in out}
        target = folder / path.name
        rewrite(path, target, current.columns, [current.numbers[i] for i in own], rows, taken, gone)
        places.append(target)
    return places


def _check(target: Path, source: Source) -> None:
    if target.exists():
        raise UsageError(f"{target} exists; give --fix a new name")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"{target.absolute().parent}: no such folder")
    names = [path.name for path in source.files]
    if len(names) == 1:
        kind = FORMATS[source.files[0].suffix.lower()]
        if FORMATS.get(target.suffix.lower()) != kind:
            raise UsageError(f"{target} must end as {source.files[0].name} does: the cleaned copy is of the same format")
    elif len(set(names)) < len(names) or target.suffix.lower() in FORMATS:
        raise UsageError(f"{target}: for several files give a new folder, and the files must have different names")
